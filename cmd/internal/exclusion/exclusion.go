// SPDX-License-Identifier: Apache-2.0

// Package exclusion reads the list of interfaces to leave alone on layer 2, in the
// format of MetalLB's excludel2.yaml, and reads it again when it changes.
package exclusion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/cmd/internal/configfile"
	"github.com/heraldlb/herald/wake"
)

// A List follows a file. If the file is missing or wrong, the last good list stays in
// force; at first that is an empty one.
type List struct {
	file *configfile.File
	news wake.Signal
	set  func([]*regexp.Regexp)
	log  *slog.Logger
}

// New returns a List that calls set with each version of the file once it runs.
func New(path string, set func([]*regexp.Regexp), log *slog.Logger) *List {
	news := wake.New()
	return &List{file: configfile.New(path, news.Set), news: news, set: set, log: log}
}

// Run follows the file until the context is canceled.
func (l *List) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.file.Run(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-l.news:
				l.read()
			}
		}
	})
	return g.Wait()
}

func (l *List) read() {
	doc, read := l.file.Document()
	if !read || doc.Err != nil {
		return
	}
	list, err := parse(doc.Text)
	if err != nil {
		l.log.Error("interfaces to exclude refused", "source", doc.Source, "err", err)
		return
	}
	l.set(list)
}

// parse reads the expressions of an excludel2.yaml.
func parse(text []byte) ([]*regexp.Regexp, error) {
	var raw struct {
		Exclude []string `json:"announcedInterfacesToExclude"`
	}
	if err := yaml.UnmarshalStrict(text, &raw); err != nil {
		return nil, err
	}
	var out []*regexp.Regexp
	var errs []error
	for i, expr := range raw.Exclude {
		r, err := regexp.Compile(expr)
		if err != nil {
			errs = append(errs, fmt.Errorf("announcedInterfacesToExclude[%d]: %w", i, err))
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}
