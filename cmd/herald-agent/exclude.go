// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/cmd/internal/configfile"
)

// An exclusion keeps the announcer from the interfaces that MetalLB's
// excludel2.yaml lists, whenever that changes. A file that is not there or makes
// no sense leaves the last list in force; at first that is an empty one.
type exclusion struct {
	file *configfile.File
	news chan struct{} // has room for one value
	set  func([]*regexp.Regexp)
	log  *slog.Logger
}

func newExclusion(path string, set func([]*regexp.Regexp), log *slog.Logger) *exclusion {
	e := &exclusion{news: make(chan struct{}, 1), set: set, log: log}
	e.file = configfile.New(path, func() {
		select {
		case e.news <- struct{}{}:
		default:
		}
	})
	return e
}

// run follows the file until the context is canceled.
func (e *exclusion) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.file.Run(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-e.news:
				e.read()
			}
		}
	})
	return g.Wait()
}

func (e *exclusion) read() {
	doc, read := e.file.Document()
	if !read || doc.Err != nil {
		return
	}
	list, err := parseExclusion(doc.Text)
	if err != nil {
		e.log.Error("interfaces to exclude refused", "source", doc.Source, "err", err)
		return
	}
	e.set(list)
}

// parseExclusion reads the expressions of an excludel2.yaml.
func parseExclusion(text []byte) ([]*regexp.Regexp, error) {
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
