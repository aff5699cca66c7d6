// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/sysdump"
	"github.com/heraldlb/herald/topology"
)

// errPart is the error of sysdump after it has printed what the archive lacks.
var errPart = errors.New("not all could be read")

// errNothing is the error that the cluster has answered nothing.
var errNothing = errors.New("nothing could be read")

// logBytes is how much of each log an archive has, without --log-bytes.
const logBytes = 4 << 20

// A sysdumpJob has the flags of sysdump.
type sysdumpJob struct {
	lookJob

	file     string
	since    time.Duration
	logBytes int64
}

func sysdumpCommand(of *connection) *cobra.Command {
	job := sysdumpJob{lookJob: lookJob{connection: of}}
	cmd := &cobra.Command{
		Use:   "sysdump",
		Short: "Collect everything for a bug report in one file, without passwords",
		Long: `Sysdump writes a tar.gz with the output of status, Herald's objects and the Services,
Nodes and events about them, /status and /metrics of its pods, and their logs, also of
processes that have ended. It changes nothing in the cluster.

It reads no Secret. Passwords, tokens and keys in objects, annotations, arguments, raw
configuration, logs and pages are replaced by [redacted]. Names, addresses and AS numbers
stay: they are needed. Look at the files before you publish them.

The file index.txt says what could not be read, and why. With --request-timeout, or after
20 s, a request is given up; a node that did not answer one is not asked again.

Exit status: 0 if all was read; 1 if something could not be read; 2 if nothing could, and
then there is no file.`,
		Example: `  heraldctl sysdump
  heraldctl sysdump --since 2h -o bug-1234.tar.gz
  heraldctl sysdump -o - | ssh desk 'cat > herald.tar.gz'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return job.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&job.file, "output", "o", "", "`file` to write, - for standard output; without it, herald-sysdump-TIME.tar.gz")
	flags.DurationVar(&job.since, "since", 24*time.Hour, "leave out lines of logs that are older; 0: none")
	flags.Int64Var(&job.logBytes, "log-bytes", logBytes, "how many bytes of each container's log to keep, the newest")
	job.addLookFlags(cmd)
	return cmd
}

func (j *sysdumpJob) run(cmd *cobra.Command) error {
	switch {
	case j.since < 0:
		return fmt.Errorf("--since=%v: want 0 or more", j.since)
	case j.logBytes < 1:
		return fmt.Errorf("--log-bytes=%d: want 1 or more", j.logBytes)
	case j.agents < 0:
		return fmt.Errorf("--agents=%d: want 0 or more", j.agents)
	}
	api, err := j.connection.config()
	if err != nil {
		return err
	}
	client, err := j.connection.client()
	if err != nil {
		return err
	}
	at := time.Now().UTC()
	folder := "herald-sysdump-" + at.Format("20060102T150405Z")
	if j.file == "" {
		j.file = folder + ".tar.gz"
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	opts := sysdump.Options{
		Client: client, Namespace: j.connection.namespace, Folder: folder, At: at, Program: version(), Timeout: api.Timeout,
		Since: j.since, LogBytes: j.logBytes, Agents: j.agents, ConfigMap: cmd.Flags().Lookup("config").Value.String(), Views: j.views(cmd),
	}
	var r sysdump.Result
	size := int64(0)
	if j.file == "-" {
		r, err = sysdump.Write(ctx, verbatim(cmd.OutOrStdout()), opts)
		err = cmp.Or(err, emptyError(r, opts))
	} else {
		r, size, err = writeArchive(ctx, j.file, opts)
	}
	if err != nil {
		return err
	}
	out := cmd.ErrOrStderr()
	if j.file != "-" {
		out = cmd.OutOrStdout()
		fmt.Fprintf(out, "%s: %d files, %d kB; look at it before you publish it\n", j.file, r.Files, (size+999)/1000)
	}
	p := newPrinter(out)
	var unread []topology.Unasked
	for _, u := range r.Unread {
		unread = append(unread, topology.Unasked{What: u.Name, Error: u.Error})
	}
	p.lacking("NOT READ", unread, false)
	if len(r.Unread) > 0 {
		return errPart
	}
	return p.err()
}

// views returns what the archive has of the commands that look at a whole Herald.
func (j *sysdumpJob) views(cmd *cobra.Command) []sysdump.View {
	look := sync.OnceValues(func() (topology.Topology, error) { return j.look(cmd, "") })
	view := func(name string, isJSON bool, write func(io.Writer, topology.Topology) error) sysdump.View {
		return sysdump.View{Name: name, JSON: isJSON, Write: func(w io.Writer) error {
			t, err := look()
			if err != nil {
				return err
			}
			return write(w, t)
		}}
	}
	return []sysdump.View{
		view("status.txt", false, func(w io.Writer, t topology.Topology) error { return printStatus(w, t, true) }),
		view("topology.json", true, func(w io.Writer, t topology.Topology) error { return writeJSON(w, t) }),
	}
}

// writeArchive writes an archive into a file, which is there only once it is complete.
func writeArchive(ctx context.Context, name string, opts sysdump.Options) (r sysdump.Result, size int64, err error) {
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return r, 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(part)
		}
	}()
	r, err = sysdump.Write(ctx, f, opts)
	if info, statErr := f.Stat(); statErr == nil {
		size = info.Size()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err = cmp.Or(err, emptyError(r, opts)); err == nil {
		err = os.Rename(part, name)
	}
	return r, size, err
}

// emptyError returns the error that the cluster has answered nothing, if so.
func emptyError(r sysdump.Result, opts sysdump.Options) error {
	if r.Read > 0 {
		return nil
	}
	for _, u := range r.Unread {
		if strings.Contains(u.Name, "/") { // it is no view, which only repeats it
			return fmt.Errorf("%w: %s: %s", errNothing, u.Name, u.Error)
		}
	}
	return fmt.Errorf("%w: there is no Herald in namespace %s", errNothing, opts.Namespace)
}
