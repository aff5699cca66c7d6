// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/wake"
)

const (
	// applyTimeout bounds one attempt: FRR's reload script takes seconds for a
	// large configuration.
	applyTimeout = 2 * time.Minute

	// retryEvery is the time between two attempts at a text that FRR found valid and
	// then did not apply completely.
	retryEvery = 30 * time.Second
)

// Programs run FRR's programs.
type Programs interface {
	// Output runs a program and returns what it prints.
	Output(ctx context.Context, path string, args ...string) (string, error)
	// Group is the group whose members may read FRR's files; negative is this
	// process's own.
	Group() int
}

// ApplierOptions are what an Applier works with.
type ApplierOptions struct {
	Programs  Programs     // required
	EtcDir    string       // required: the folder shared with the agent
	RunDir    string       // required: where FRR's programs can read what is written
	DaemonDir string       // required: where frr-reload.py is
	Logger    *slog.Logger // required

	// Started returns when the daemons run that the texts in the shared folder need.
	Started func(context.Context) // optional: nil if they always run
}

// An Applier applies the raw configuration in FRR's container and writes the result
// for the agent. What the agent applies over the vty sockets stays.
type Applier struct {
	opts    ApplierOptions
	reapply wake.Signal // a daemon has lost what it was given

	tried   string // the sum of the text whose result is written
	applied []byte // the text that FRR runs
	unsaved bool   // extras.applied.conf has another
	failed  bool   // FRR did not apply the last text, though the text is valid
}

// NewApplier returns an Applier. Run makes it work.
func NewApplier(opts ApplierOptions) *Applier {
	return &Applier{opts: opts, reapply: wake.New(), tried: contract.Sum(nil)}
}

// Reapply applies the text again: a daemon was started, which has read only frr.conf.
func (a *Applier) Reapply() { a.reapply.Set() }

// Run applies the text whenever the file changes and whenever a daemon has been
// started, until ctx ends.
func (a *Applier) Run(ctx context.Context) (err error) {
	if a.applied, err = contract.ReadExtrasApplied(a.opts.EtcDir); err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(a.opts.EtcDir); err != nil {
		return fmt.Errorf("watch %s: %w", a.opts.EtcDir, err)
	}
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		again := false
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.Events:
			if filepath.Base(event.Name) != contract.ExtrasFile {
				continue
			}
		case err := <-w.Errors:
			a.opts.Logger.Debug("folder watch", "err", err)
		case <-a.reapply:
			again = true
		case <-retry.C:
			again = a.failed
		}
		if err := a.pass(ctx, again); err != nil && ctx.Err() == nil {
			a.opts.Logger.Warn("raw configuration not handled", "err", err)
		}
	}
}

// pass tries the present text if it has changed or has to be applied again.
func (a *Applier) pass(ctx context.Context, again bool) error {
	text, err := contract.ReadExtras(a.opts.EtcDir)
	if err != nil {
		return err
	}
	sum := contract.Sum(text)
	if sum == a.tried && (!again || len(text) == 0 && len(a.applied) == 0) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if a.opts.Started != nil {
		a.opts.Started(ctx)
	}
	before := a.applied
	refused := a.try(ctx, text)
	if again && errors.Is(refused, errRefused) {
		err = a.restore(ctx)
	}
	if a.unsaved = a.unsaved || !bytes.Equal(a.applied, before); a.unsaved {
		saved := contract.WriteExtrasApplied(a.opts.EtcDir, a.applied)
		a.unsaved = saved != nil
		err = errors.Join(err, saved)
	}
	if ctx.Err() != nil && refused != nil {
		return refused
	}
	result := contract.ExtrasResult{Sum: sum, Applied: refused == nil, At: time.Now().UTC().Truncate(time.Millisecond)}
	if refused != nil {
		result.Error = refused.Error()
		a.opts.Logger.Warn("raw configuration refused", "reason", result.Error)
	} else {
		a.opts.Logger.Info("raw configuration applied", "bytes", len(text))
		if result.Remark = a.differences(ctx, text); result.Remark != "" {
			a.opts.Logger.Warn("raw configuration may not stay", "reason", result.Remark)
		}
	}
	err = errors.Join(err, contract.WriteExtrasResult(a.opts.EtcDir, result))
	if err == nil {
		a.tried = sum
	}
	return err
}

// errRefused reports a text in which FRR found a mistake. The text applied before
// stays in force.
var errRefused = errors.New("refused")

// try checks the whole text and then applies it.
func (a *Applier) try(ctx context.Context, text []byte) error {
	a.failed = false
	path, err := a.writeTemp(text)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if out, err := a.opts.Programs.Output(ctx, "vtysh", "-C", "-f", path); err != nil {
		return fmt.Errorf("%w: %s", errRefused, a.output(text, path, out, err))
	}
	a.failed = true
	gone := conf.Parse(string(a.applied)).Without(conf.Parse(string(text)), nil)
	if len(gone.Sections) > 0 {
		if err := a.replace(ctx, text); err != nil {
			return err
		}
	}
	// vtysh adds the new lines, and leaves the rest as it is.
	if out, err := a.opts.Programs.Output(ctx, "vtysh", "-f", path); err != nil {
		return fmt.Errorf("apply: %s", a.output(text, path, out, err))
	}
	a.applied = text
	a.failed = false
	return nil
}

// differences names the lines of a text that FRR does not show as they are written:
// short forms, lines of a context without their indentation, lines that FRR shows in
// another place. In a context that Herald writes too, the agent cannot recognize such
// lines as the operator's and removes them.
func (a *Applier) differences(ctx context.Context, text []byte) string {
	if len(text) == 0 {
		return ""
	}
	running, err := a.opts.Programs.Output(ctx, "vtysh", "-c", "show running-config")
	if err != nil {
		return "" // FRR has gone away; the text is applied again when it is back
	}
	var lines []string
	var list func(sections []conf.Section, context string)
	list = func(sections []conf.Section, context string) {
		for _, s := range sections {
			if len(s.Sub) == 0 {
				lines = append(lines, context+conf.Brief(s.Text))
			}
			list(s.Sub, context+conf.Brief(s.Text)+" / ")
		}
	}
	list(conf.Parse(string(text)).Without(conf.Parse(running), nil).Sections, "")
	if len(lines) == 0 {
		return ""
	}
	const most = 5
	rest := ""
	if more := len(lines) - most; more > 0 {
		lines, rest = lines[:most], fmt.Sprintf(", and %d more", more)
	}
	return conf.Redact("FRR does not show as they are written: " + strings.Join(lines, ", ") + rest)
}

// restore applies the text that was in force before to a daemon that was started.
func (a *Applier) restore(ctx context.Context) error {
	if len(a.applied) == 0 {
		return nil
	}
	path, err := a.writeTemp(a.applied)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if out, err := a.opts.Programs.Output(ctx, "vtysh", "-f", path); err != nil {
		return fmt.Errorf("restore: %s", a.output(nil, path, out, err))
	}
	return nil
}

// replace removes the lines that the text no longer has. FRR's reload script is given
// the running configuration with the new text in place of the old one.
func (a *Applier) replace(ctx context.Context, text []byte) error {
	running, err := a.opts.Programs.Output(ctx, "vtysh", "-c", "show running-config")
	if err != nil {
		return fmt.Errorf("read the running configuration: %s", a.output(text, "", running, err))
	}
	wanted, err := os.ReadFile(filepath.Join(a.opts.EtcDir, contract.ConfFile))
	if err != nil {
		return err
	}
	rest := conf.Parse(running).Without(conf.Parse(string(a.applied)), conf.Parse(string(wanted)))
	// The script needs a file named frr.conf in a folder of its own. With another name
	// it would have vtysh overwrite frr.conf, which is the agent's.
	dir, err := os.MkdirTemp(a.opts.RunDir, ".reload-*")
	if err != nil {
		return a.unwritable(err)
	}
	defer os.RemoveAll(dir)
	err = cmp.Or(
		a.share(dir, 0o770),
		a.write(filepath.Join(dir, "vtysh.conf"), []byte(contract.VtyshConf)),
		a.write(filepath.Join(dir, contract.ConfFile), []byte(closed(rest)+string(text))),
	)
	if err != nil {
		return a.unwritable(err)
	}
	out, err := a.opts.Programs.Output(ctx, "/usr/bin/python3", filepath.Join(a.opts.DaemonDir, "frr-reload.py"),
		"--reload", "--stdout", "--confdir", dir, "--rundir", dir, filepath.Join(dir, contract.ConfFile))
	if err != nil {
		return fmt.Errorf("reload: %s", a.output(text, dir, out, err))
	}
	a.applied = text
	// The script has removed lines that the agent added in the meantime.
	if out, err := a.opts.Programs.Output(ctx, "vtysh", "-b"); err != nil {
		return fmt.Errorf("load frr.conf: %s", a.output(text, "", out, err))
	}
	return nil
}

// writeTemp writes a text to a file that only FRR's programs can read.
func (a *Applier) writeTemp(text []byte) (path string, err error) {
	f, err := os.CreateTemp(a.opts.RunDir, ".extras-*")
	if err != nil {
		return "", a.unwritable(err)
	}
	if err := cmp.Or(f.Close(), a.write(f.Name(), text)); err != nil {
		os.Remove(f.Name())
		return "", a.unwritable(err)
	}
	return f.Name(), nil
}

// unwritable returns the error of a temporary file in the run directory. It is the same
// at each attempt.
func (a *Applier) unwritable(err error) error {
	return fmt.Errorf("write into %s: %w", a.opts.RunDir, contract.Cause(err))
}

func (a *Applier) write(path string, text []byte) error {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return a.share(path, 0o640)
}

// share lets FRR's programs read a file or a folder.
func (a *Applier) share(path string, mode os.FileMode) error {
	if g := a.opts.Programs.Group(); g >= 0 {
		if err := os.Chown(path, -1, g); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// timestamp is what frr-reload.py begins its messages with.
var timestamp = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ +`)

// output returns what a program printed that was given a text in a temporary file, or
// how it ended if it printed nothing. It hides the text, and what differs between two
// attempts: times, and the name of the file.
func (a *Applier) output(text []byte, path, out string, err error) string {
	out = timestamp.ReplaceAllString(out, "")
	if path != "" {
		out = strings.ReplaceAll(out, path, contract.ExtrasFile)
	}
	out = strings.TrimSpace(conf.NewVeil(string(text), string(a.applied)).Hide(out))
	if out == "" {
		return err.Error()
	}
	const most = 2000
	if len(out) > most {
		out = "… " + strings.ToValidUTF8(out[len(out)-most:], "")
	}
	return out
}

// closed returns a configuration in which each context ends with exit, as FRR's
// programs need it in a file. Lines that activate neighbors are the last of an address
// family: the script may add a neighbor that the agent is removing.
func closed(c *conf.Config) string {
	var b strings.Builder
	var write func(list []conf.Section, depth int)
	write = func(list []conf.Section, depth int) {
		for _, s := range list {
			indent := strings.Repeat(" ", depth)
			b.WriteString(indent + s.Text + "\n")
			if len(s.Sub) == 0 {
				continue
			}
			lines, end := s.Sub, "exit"
			if strings.HasPrefix(s.Text, "address-family ") {
				activate, others := conf.SplitActivate(s.Sub)
				lines, end = append(others, activate...), "exit-address-family"
			}
			write(lines, depth+1)
			b.WriteString(indent + end + "\n")
		}
	}
	write(c.Sections, 0)
	return b.String()
}
