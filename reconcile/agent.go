// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// FRR runs a configuration.
type FRR interface {
	// Set replaces the text of frr.conf. It must not block.
	Set(conf []byte)
}

// AgentOptions are what an Agent works with.
type AgentOptions struct {
	Node      string          // required: this node's name
	Worker    *Worker         // required: woken by whatever changes
	Cluster   Cluster         // required
	Documents Documents       // required
	FRR       FRR             // required
	Reporter  Reporter        // required
	Logger    *slog.Logger    // required
	Announce  AnnounceOptions // optional
}

// An Agent announces the addresses of Services from one node.
type Agent struct {
	opts   AgentOptions
	loader loader
	failed string // why the last pass came to nothing
}

// NewAgent returns an Agent that does nothing until it runs.
func NewAgent(opts AgentOptions) *Agent {
	return &Agent{opts: opts, loader: loader{docs: opts.Documents, log: opts.Logger}}
}

// Run announces until the context is canceled. That withdraws nothing: FRR goes
// on with what it was told last.
func (a *Agent) Run(ctx context.Context) error {
	a.opts.Worker.Wake()
	return a.opts.Worker.Run(ctx, a.pass)
}

// pass looks at the cluster once. Until everything is read and a configuration
// is accepted FRR is left as it is: it may be running what an agent before this
// one told it.
func (a *Agent) pass() {
	start := time.Now()
	s, synced := a.opts.Cluster.Snapshot()
	read := a.loader.next(start)
	if !synced || !read {
		return
	}
	s.Config = a.loader.loaded
	r := status.Report{Synced: true, Config: a.loader.report()}
	if s.Config.Config != nil {
		desired := Announce(s, a.opts.Node, a.opts.Announce)
		r.Decisions, r.Peers = desired.Decisions, desired.Peers
		r.Error = a.apply(desired)
	}
	r.Took = time.Since(start)
	a.opts.Reporter.Set(r)
}

// apply hands over to FRR, and returns why it could not.
func (a *Agent) apply(d Desired) string {
	conf, err := render.FRR(d.BGP)
	if err == nil {
		a.opts.FRR.Set(conf)
		a.failed = ""
		return ""
	}
	failed := fmt.Sprintf("frr.conf: %v", err)
	if failed != a.failed {
		a.failed = failed
		a.opts.Logger.Error("configuration not applied", "err", failed)
	}
	return failed
}
