// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
)

const (
	// extrasTimeout bounds one attempt: FRR's reload script takes seconds for a
	// large configuration.
	extrasTimeout = 2 * time.Minute

	// extrasRetry is the time between two attempts at a text that FRR took for
	// valid and then did not apply whole.
	extrasRetry = 30 * time.Second
)

type extrasOptions struct {
	Host      host         // required
	EtcDir    string       // required: the folder shared with the agent
	RunDir    string       // required: where FRR's programs can read what is written
	DaemonDir string       // required: where frr-reload.py is
	Logger    *slog.Logger // required
}

// An extras applies the operator's raw configuration, beside what the agent
// applies over the vty sockets, and leaves word of what became of it.
type extras struct {
	opts   extrasOptions
	reload chan struct{} // capacity 1: a daemon has lost what it was given

	tried   string // the sum of the text that was last tried
	applied []byte // what FRR runs of it
	failed  bool   // the last attempt came to nothing, though the text is valid
}

func newExtras(opts extrasOptions) *extras {
	return &extras{opts: opts, reload: make(chan struct{}, 1), tried: contract.Sum(nil)}
}

// again says that a daemon was started, which knows frr.conf alone.
func (e *extras) again() {
	select {
	case e.reload <- struct{}{}:
	default:
	}
}

// run applies the text whenever the file changes and whenever a daemon has been
// started, until ctx ends.
func (e *extras) run(ctx context.Context) (err error) {
	if e.applied, err = contract.ReadExtrasApplied(e.opts.EtcDir); err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(e.opts.EtcDir); err != nil {
		return fmt.Errorf("watch %s: %w", e.opts.EtcDir, err)
	}
	retry := time.NewTicker(extrasRetry)
	defer retry.Stop()
	for {
		anew := false
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.Events:
			if filepath.Base(event.Name) != contract.ExtrasFile {
				continue
			}
		case err := <-w.Errors:
			e.opts.Logger.Debug("folder watch", "err", err)
		case <-e.reload:
			anew = true
		case <-retry.C:
			anew = e.failed
		}
		if err := e.pass(ctx, anew); err != nil && ctx.Err() == nil {
			e.opts.Logger.Warn("raw configuration not handled", "err", err)
		}
	}
}

// pass tries the present text, if it is another one or all has to be applied anew.
func (e *extras) pass(ctx context.Context, anew bool) error {
	text, err := contract.ReadExtras(e.opts.EtcDir)
	if err != nil {
		return err
	}
	sum := contract.Sum(text)
	if sum == e.tried && (!anew || len(text) == 0 && len(e.applied) == 0) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, extrasTimeout)
	defer cancel()
	before := e.applied
	refused := e.try(ctx, text)
	if anew && errors.Is(refused, errRefused) {
		err = e.restore(ctx)
	}
	if !bytes.Equal(e.applied, before) {
		err = errors.Join(err, contract.WriteExtrasApplied(e.opts.EtcDir, e.applied))
	}
	if ctx.Err() != nil && refused != nil {
		return refused
	}
	e.tried = sum
	result := contract.ExtrasResult{Sum: sum, Applied: refused == nil, At: time.Now().UTC().Truncate(time.Millisecond)}
	if refused != nil {
		result.Error = conf.Redact(refused.Error())
		e.opts.Logger.Warn("raw configuration refused", "reason", result.Error)
	} else {
		e.opts.Logger.Info("raw configuration applied", "bytes", len(text))
		if result.Remark = e.unlike(ctx, text); result.Remark != "" {
			e.opts.Logger.Warn("raw configuration may not stay", "reason", result.Remark)
		}
	}
	return errors.Join(err, contract.WriteExtrasResult(e.opts.EtcDir, result))
}

// errRefused is a text in which FRR found a mistake. What was applied before stays.
var errRefused = errors.New("refused")

// try checks the whole text and then applies it.
func (e *extras) try(ctx context.Context, text []byte) error {
	e.failed = false
	path, err := e.leave(text)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if out, err := e.opts.Host.output(ctx, "vtysh", "-C", "-f", path); err != nil {
		return fmt.Errorf("%w: %s", errRefused, said(out, err))
	}
	e.failed = true
	gone := conf.Parse(string(e.applied)).Without(conf.Parse(string(text)), nil)
	if len(gone.Sections) > 0 {
		if err := e.replace(ctx, text); err != nil {
			return err
		}
	}
	// What is added is added by vtysh alone, which leaves the rest as it is.
	if out, err := e.opts.Host.output(ctx, "vtysh", "-f", path); err != nil {
		return fmt.Errorf("apply: %s", said(out, err))
	}
	e.applied = text
	e.failed = false
	return nil
}

// unlike names the lines of a text that FRR does not show as they are there: short
// forms, lines of a context that are not indented, lines that FRR shows in another
// place. In a context that Herald writes too, the agent does not know them for the
// operator's, and takes them away.
func (e *extras) unlike(ctx context.Context, text []byte) string {
	if len(text) == 0 {
		return ""
	}
	running, err := e.opts.Host.output(ctx, "vtysh", "-c", "show running-config")
	if err != nil {
		return "" // FRR went away meanwhile; the text is tried anew when it is back
	}
	var lines []string
	var list func(sections []conf.Section, context string)
	list = func(sections []conf.Section, context string) {
		for _, s := range sections {
			if len(s.Sub) == 0 {
				lines = append(lines, context+s.Text)
			}
			list(s.Sub, context+s.Text+" / ")
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

// restore gives a daemon that was started what was in force before.
func (e *extras) restore(ctx context.Context) error {
	if len(e.applied) == 0 {
		return nil
	}
	path, err := e.leave(e.applied)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if out, err := e.opts.Host.output(ctx, "vtysh", "-f", path); err != nil {
		return fmt.Errorf("restore: %s", said(out, err))
	}
	return nil
}

// replace takes away what the text has no more: FRR's reload script is given the
// running configuration with the new text in the place of the old.
func (e *extras) replace(ctx context.Context, text []byte) error {
	running, err := e.opts.Host.output(ctx, "vtysh", "-c", "show running-config")
	if err != nil {
		return fmt.Errorf("read the running configuration: %s", said(running, err))
	}
	wanted, err := os.ReadFile(filepath.Join(e.opts.EtcDir, contract.ConfFile))
	if err != nil {
		return err
	}
	rest := conf.Parse(running).Without(conf.Parse(string(e.applied)), conf.Parse(string(wanted)))
	// Were it given another file than frr.conf, the script would have vtysh write
	// that, which is the agent's.
	dir, err := os.MkdirTemp(e.opts.RunDir, ".reload-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = errors.Join(
		e.share(dir, 0o770),
		e.write(filepath.Join(dir, "vtysh.conf"), []byte(vtyshConf)),
		e.write(filepath.Join(dir, contract.ConfFile), []byte(closed(rest)+string(text))),
	)
	if err != nil {
		return err
	}
	out, err := e.opts.Host.output(ctx, "/usr/bin/python3", filepath.Join(e.opts.DaemonDir, "frr-reload.py"),
		"--reload", "--stdout", "--confdir", dir, "--rundir", dir, filepath.Join(dir, contract.ConfFile))
	if err != nil {
		return fmt.Errorf("reload: %s", said(out, err))
	}
	e.applied = text
	// The agent may have added lines in the meantime, which the script took away.
	if out, err := e.opts.Host.output(ctx, "vtysh", "-b"); err != nil {
		return fmt.Errorf("load frr.conf: %s", said(out, err))
	}
	return nil
}

// leave writes a text where FRR's programs can read it, and nobody else.
func (e *extras) leave(text []byte) (path string, err error) {
	f, err := os.CreateTemp(e.opts.RunDir, ".extras-*")
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Close(), e.write(f.Name(), text)); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func (e *extras) write(path string, text []byte) error {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return e.share(path, 0o640)
}

// share lets FRR's programs into a file or a folder.
func (e *extras) share(path string, mode os.FileMode) error {
	if g := e.opts.Host.group(); g >= 0 {
		if err := os.Chown(path, -1, g); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// said returns what a program printed, without passwords, or how it ended if it
// printed nothing.
func said(out string, err error) string {
	out = strings.TrimSpace(conf.Redact(out))
	if out == "" {
		return err.Error()
	}
	const most = 2000
	if len(out) > most {
		out = "… " + out[len(out)-most:]
	}
	return out
}

// closed returns a configuration in which each context is left, as a file for
// FRR's programs has to.
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
			write(s.Sub, depth+1)
			end := "exit"
			if strings.HasPrefix(s.Text, "address-family ") {
				end = "exit-address-family"
			}
			b.WriteString(indent + end + "\n")
		}
	}
	write(c.Sections, 0)
	return b.String()
}
