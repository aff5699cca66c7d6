// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// minInterval is the shortest time between two looks: the API server has others to serve.
const minInterval = 500 * time.Millisecond

// checkInterval returns an error for a time between two looks that is too short.
func checkInterval(d time.Duration) error {
	if d < minInterval {
		return fmt.Errorf("interval %v: want %v or more", d, minInterval)
	}
	return nil
}

// follow prints sessions, and those that change, until the context is canceled. What cannot
// be asked at first is not the end: an agent may be about to start.
func (j sessionsJob) follow(cmd *cobra.Command, from absenceReporter, nodes []string) error {
	if err := checkInterval(j.interval); err != nil {
		return err
	}
	ctx := cmd.Context()
	w := sessionsWatch{job: j, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), last: map[string]string{}}
	tick := time.NewTicker(j.interval)
	defer tick.Stop()
	for {
		peers, err := sessionsOf(ctx, from, j.namespace, nodes)
		if ctx.Err() != nil {
			return nil // the user has had enough
		}
		if err := w.look(peers, err, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A sessionsWatch knows what was printed.
type sessionsWatch struct {
	job       sessionsJob
	out, errs io.Writer
	last      map[string]string // by node and peer: state and trouble
	failure   string            // what could not be asked
	begun     bool              // something was printed
}

// look prints what is new among peers, and an error that is new.
func (w *sessionsWatch) look(peers []nodePeer, failed error, now time.Time) error {
	text := ""
	if failed != nil {
		text = failed.Error()
	}
	if text != w.failure {
		if w.failure = text; text != "" {
			fmt.Fprintf(w.errs, "%s %s\n", now.Format(time.TimeOnly), text)
		}
	}
	var news []nodePeer
	for _, p := range peers {
		key, is := p.Node+"\x00"+p.Name, p.state()+"\x00"+p.trouble()+"\x00"+p.Session.BFD
		if before, known := w.last[key]; !known || before != is {
			w.last[key] = is
			news = append(news, p)
		}
	}
	if len(news) == 0 {
		return nil
	}
	if !w.job.output.tabular() {
		for _, p := range news {
			if err := w.document(p); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(w.out)
	if !w.begun {
		w.job.output.header(t, append([]any{"TIME"}, sessionColumns(w.job.output.format == viewWide)...)...)
	}
	w.begun = true
	for _, p := range news {
		t.row(append([]any{now.Format(time.TimeOnly)}, p.cells(now, w.job.output.format == viewWide)...)...)
	}
	return t.flush()
}

// document prints a peer as a document of its own.
func (w *sessionsWatch) document(p nodePeer) error {
	if w.job.output.format == viewYAML {
		if _, err := fmt.Fprintln(w.out, "---"); err != nil {
			return err
		}
	}
	return w.job.output.write(w.out, p, nil)
}
