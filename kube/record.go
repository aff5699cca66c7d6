// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/source"
)

// RecordOptions say where a Record is.
type RecordOptions struct {
	Client    *Client // required
	Namespace string  // required
	Wake      func()  // required: called after every change; must not block
}

// A Record is what the leading controller has written into its ConfigurationState.
// It is read from the first time on that somebody asks for it: where there is one
// configuration alone nobody does.
type Record struct {
	opts  RecordOptions
	asked chan struct{} // closed when it is to be read
	ask   func()

	mu   sync.Mutex // guards the fields below
	read bool
	says stateStatus
}

// NewRecord returns a Record that reads nothing until it runs.
func NewRecord(opts RecordOptions) *Record {
	r := &Record{opts: opts, asked: make(chan struct{})}
	r.ask = sync.OnceFunc(func() { close(r.asked) })
	return r
}

// Source returns the source of the configuration that the leading controller has,
// or had, in force, and whether that was read yet; empty: it never said.
func (r *Record) Source() (source.Source, bool) {
	r.ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	return source.Source(r.says.Source), r.read
}

// Recorded returns what the leading controller says of the ConfigMap, and whether
// that was read yet.
func (r *Record) Recorded() (source.Recorded, bool) {
	r.ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	return source.Recorded{Pools: []byte(r.says.InForce), Withheld: r.says.FailedConfiguration}, r.read
}

// Run reads until the context is canceled.
func (r *Record) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.asked:
	}
	persist(ctx, r.opts.Client.customResources(kindState, r.opts.Namespace),
		fields.OneTermEqualSelector("metadata.name", controllerState), &sink[*customResource]{
			wake:   r.opts.Wake,
			mu:     &r.mu,
			set:    r.hear,
			remove: func(*customResource) bool { return false }, // it was said all the same
			replace: func(all []*customResource) bool {
				return len(all) > 0 && r.hear(all[0])
			},
			synced: func() { r.read = true },
		}, func(error) {
			r.mu.Lock()
			first := !r.read
			r.read = true
			r.mu.Unlock()
			if first {
				r.opts.Wake()
			}
		})
	return nil
}

// hear takes in what the object says, and reports whether that is news.
func (r *Record) hear(o *customResource) bool {
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // what is no status says nothing
	news := says.Source != r.says.Source || says.InForce != r.says.InForce || says.FailedConfiguration != r.says.FailedConfiguration
	r.says = says
	return news
}
