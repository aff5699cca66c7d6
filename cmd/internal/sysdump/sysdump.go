// SPDX-License-Identifier: Apache-2.0

// Package sysdump collects what an engineer needs to find a fault of a Herald, in one archive
// without secrets.
package sysdump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heraldlb/herald/kube"
)

// atOnce is how many requests wait for an answer at the same time.
const atOnce = 16

// Options say what is collected.
type Options struct {
	Client    *kube.Client  // required
	Namespace string        // required: Herald's
	Folder    string        // required: where the files are in the archive
	At        time.Time     // required: the time of the files
	Program   string        // required: what has made the archive, with its version
	Timeout   time.Duration // of a request; 0: none
	Since     time.Duration // how old the logs may be; 0: any age
	LogBytes  int64         // required: of the log of a container
	Agents    int           // how many agents' pages and logs are read at most
	ConfigMap string        // that Herald reads; empty: what the arguments of its pods say
	Views     []View        // optional: of the caller's own
}

// A View is a file that the caller writes.
type View struct {
	Name  string
	JSON  bool // it is an object in JSON, else text
	Write func(io.Writer) error
}

// A Result says what an archive has.
type Result struct {
	Files  int
	Read   int // how many of them are the cluster's answers
	Unread []Unread
}

// An Unread is a file that the archive lacks, or has in part.
type Unread struct{ Name, Error string }

// A part is a file that is to be made.
type part struct {
	name  string
	node  string // whose kubelet or pod is asked; empty: the API server alone
	view  bool   // it is made of other answers
	write func(ctx context.Context, to *spool) (note string, err error)
}

// A made is a part that was made.
type made struct {
	part
	spool *spool
	note  string
	err   error // about what is read
	fatal error // about the spool
}

// A dump is one call of Write.
type dump struct {
	opts   Options
	folder string
	redact redactor
	pods   []corev1.Pod
	kinds  []kind

	mu     sync.Mutex      // guards silent
	silent map[string]bool // nodes that do not answer
}

// Write writes an archive. What could not be read is in its index and in the result. The error
// is about the archive itself.
func Write(ctx context.Context, w io.Writer, opts Options) (Result, error) {
	folder, err := os.MkdirTemp("", "herald-sysdump-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(folder)
	d := &dump{opts: opts, folder: folder, silent: map[string]bool{}}
	if err := d.reach(ctx); err != nil {
		return Result{}, err
	}
	notes := d.gather(ctx)
	parts, left := d.parts()
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d agents were not asked: --agents is %d", left, opts.Agents))
	}
	a := newArchive(w, opts)
	i := index{opts: opts, notes: notes, redact: &d.redact}
	if err := d.make(ctx, parts, func(m made) error { return i.add(a, m) }); err != nil {
		return i.result, err
	}
	if ctx.Err() != nil {
		return i.result, context.Cause(ctx)
	}
	if err := a.text("index.txt", i.text(time.Since(opts.At))); err != nil {
		return i.result, err
	}
	return i.result, a.close()
}

// reach returns an error if there is no API server that answers.
func (d *dump) reach(ctx context.Context) error {
	answer, err := d.get(ctx, "/version", nil)
	if refusal := apierrors.APIStatus(nil); errors.As(err, &refusal) {
		return nil // it answers, and may answer other requests
	}
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	return answer.Close()
}

// gather reads what decides about the rest: pods, Services, and all that may have a password
// that logs and statuses repeat. It returns what is to be known about the archive.
func (d *dump) gather(ctx context.Context) (notes []string) {
	d.redact.learning = true
	services := &serviceSet{}
	d.kinds = kinds(d.opts.Namespace, nil, services)
	learn := func(file string, also func(map[string]any) error) {
		_, err := d.read(ctx, d.kind(file), func(o map[string]any) error {
			if err := also(o); err != nil {
				return err
			}
			d.redact.value("", o)
			return nil
		})
		if err != nil {
			notes = append(notes, fmt.Sprintf("passwords in %s are not known, and other files were searched for them by the words before them: %v", file, err))
		}
	}
	learn("pods", func(o map[string]any) error {
		var p corev1.Pod
		text, err := json.Marshal(o)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		d.pods = append(d.pods, p)
		return err
	})
	d.kinds = kinds(d.opts.Namespace, d.configMaps(), services)
	for _, file := range []string{"bgppeers", "configmaps", "deployments", "daemonsets"} {
		learn(file, func(map[string]any) error { return nil })
	}
	names := map[string]bool{}
	if _, err := d.read(ctx, d.kind("services"), func(o map[string]any) error {
		names[text(o, "metadata", "namespace")+"/"+text(o, "metadata", "name")] = true
		return nil
	}); err == nil {
		services.names = names
	}
	d.redact.learning = false
	d.redact.known.settle()
	return notes
}

// kind returns the kind of a file.
func (d *dump) kind(file string) kind {
	return d.kinds[slices.IndexFunc(d.kinds, func(k kind) bool { return k.file == file })]
}

// configMaps returns the names of the ConfigMaps that Herald reads.
func (d *dump) configMaps() []string {
	name := d.opts.ConfigMap
	for _, p := range d.pods {
		for _, c := range p.Spec.Containers {
			for i, arg := range c.Args {
				if value, ok := strings.CutPrefix(arg, "--config="); ok && name == "" {
					name = value
				} else if arg == "--config" && i+1 < len(c.Args) && name == "" {
					name = c.Args[i+1]
				}
			}
		}
	}
	if name == "" {
		name = "config"
	}
	return slices.Compact([]string{name, "bgpextras", "metallb-excludel2"})
}

// parts returns all files but the index, and how many agents are left out.
func (d *dump) parts() (out []part, left int) {
	for _, v := range d.opts.Views {
		out = append(out, part{name: v.Name, view: true, write: func(_ context.Context, to *spool) (string, error) { return "", d.view(v, to) }})
	}
	for _, page := range []struct{ name, path string }{{"apiserver.json", "/version"}, {"metallb.io.json", "/apis/metallb.io"}} {
		out = append(out, part{name: "versions/" + page.name, write: func(ctx context.Context, to *spool) (string, error) {
			answer, err := d.get(ctx, page.path, nil)
			if err != nil {
				return "", err
			}
			defer answer.Close()
			return "", d.redact.document(to, answer)
		}})
	}
	for _, k := range d.kinds {
		out = append(out, part{name: "objects/" + k.file + ".json", write: func(ctx context.Context, to *spool) (string, error) {
			return d.objects(ctx, k, to)
		}})
	}
	pods, left := d.chosen()
	for _, p := range pods {
		out = append(out, d.pages(p)...)
		out = append(out, d.logs(p)...)
	}
	return out, left
}

// view writes what the caller writes, without secrets.
func (d *dump) view(v View, to io.Writer) error {
	from, writes := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		err := v.Write(writes)
		writes.CloseWithError(err)
		return err
	})
	var err error
	if v.JSON {
		err = d.redact.document(to, from)
	} else {
		err = d.redact.lines(to, from, own)
	}
	from.CloseWithError(err) // the writer does not wait for a reader that is gone
	if written := g.Wait(); written != nil && !errors.Is(written, io.ErrClosedPipe) {
		return written
	}
	return err
}

// make makes parts at the same time, and hands them on in their order.
func (d *dump) make(ctx context.Context, parts []part, done func(made) error) error {
	results := make([]chan made, len(parts))
	for i := range results {
		results[i] = make(chan made, 1)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var producer, workers errgroup.Group
	workers.SetLimit(atOnce)
	producer.Go(func() error {
		for i, p := range parts {
			workers.Go(func() error {
				results[i] <- d.one(ctx, p)
				return nil
			})
		}
		return workers.Wait()
	})
	var failed error
	for i := range results {
		m := <-results[i]
		if failed == nil {
			failed = m.fatal
		}
		if failed == nil {
			if failed = done(m); failed != nil {
				cancel()
			}
		}
		if m.spool != nil {
			failed = errors.Join(failed, m.spool.drop())
		}
	}
	return errors.Join(failed, producer.Wait())
}

// one makes a part.
func (d *dump) one(ctx context.Context, p part) made {
	m := made{part: p}
	if m.spool, m.fatal = newSpool(d.folder); m.fatal != nil {
		return m
	}
	d.mu.Lock()
	skip := p.node != "" && d.silent[p.node]
	d.mu.Unlock()
	if skip {
		m.err = fmt.Errorf("not asked: node %s did not answer before", p.node)
		return m
	}
	m.note, m.err = p.write(ctx, m.spool)
	if p.node != "" && silent(m.err) {
		d.mu.Lock()
		d.silent[p.node] = true
		d.mu.Unlock()
	}
	return m
}
