// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/heraldlb/herald/source"
)

// RecordOptions say where a Record is read.
type RecordOptions struct {
	Client    *Client // required
	Namespace string  // required
	Wake      func()  // required: called after every change; must not block
}

// A Record is what the leading controller wrote into its ConfigurationState. It is
// read once Source or Recorded has been called. A cluster with one configuration never
// calls them.
type Record struct {
	opts  RecordOptions
	asked chan struct{} // closed when reading starts
	ask   func()

	mu     sync.Mutex // guards the fields below
	states *mirror[string, recorded]
	last   recorded // of the last object: it stays true after a deletion
}

// A recorded is what a Record reads of a ConfigurationState.
type recorded struct {
	name   string
	source source.Source
	config source.Recorded
}

// NewRecord returns a Record that reads nothing until it runs.
func NewRecord(opts RecordOptions) *Record {
	r := &Record{opts: opts, asked: make(chan struct{})}
	r.ask = sync.OnceFunc(func() { close(r.asked) })
	r.states = newMirror(kind[*customResource, string, recorded]{
		from:    func(c *Client) lister { return c.customResources(kindState, opts.Namespace).named(controllerState) },
		row:     recordedOf,
		key:     func(r recorded) string { return r.name },
		compare: strings.Compare,
	}, mirrorOptions[recorded]{
		mu: &r.mu, wake: opts.Wake, absent: func(error) {}, stays: true,
		news: func(changes []change[recorded]) bool {
			now := changes[len(changes)-1].now
			if now != nil {
				r.last = *now
			}
			return now != nil
		},
	})
	return r
}

// recordedOf returns the row of an object.
func recordedOf(o *customResource) recorded {
	var says stateStatus
	_ = json.Unmarshal(o.Status, &says) // an invalid status is empty
	return recorded{o.Name, source.Source(says.Source), source.Recorded{Pools: []byte(says.InForce), Withheld: says.FailedConfiguration}}
}

// Source returns the source of the configuration that is in force for the leading
// controller, or was; empty if it never wrote one. It also reports whether that was
// read yet.
func (r *Record) Source() (source.Source, bool) {
	r.ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.source, r.states.reading != unread
}

// Recorded returns what the leading controller wrote about the ConfigMap, and whether
// that was read yet.
func (r *Record) Recorded() (source.Recorded, bool) {
	r.ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.config, r.states.reading != unread
}

// Run reads until the context is canceled.
func (r *Record) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-r.asked:
		r.states.run(ctx, r.opts.Client)
	}
	return nil
}
