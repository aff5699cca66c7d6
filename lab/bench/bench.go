// SPDX-License-Identifier: Apache-2.0

// Package bench measures Herald on a Stack: how long Services take to their address, to
// their routes and to their end, at rest, among many others and while others change, and
// what that costs.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// Config is Herald's configuration for Run. Every node peers with r1 alone, so that
// nobody else's work is measured. Services that are measured have addresses that no other
// Service has had just before them: the route would be there already.
const Config = `
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]
address-pools:
- {name: all, protocol: bgp, addresses: [10.240.0.0/16]}
- {name: ` + samplePool + `, protocol: bgp, addresses: [10.241.0.0/24], auto-assign: false}
`

const samplePool = "measured"

// Options say what is measured.
type Options struct {
	Namespace string // required: of all objects; it has no Service
	Services  int    // required: how many there are while others are measured, written into etcd
	Samples   int    // required: Services that are measured one after the other in each series

	Rounds   int           // optional: how often a burst of Services is made and deleted
	Burst    int           // optional: how many Services that is
	Churn    float64       // optional: Services that are made, and deleted, in a second of churn
	Changes  float64       // optional: endpoints that move in a second of churn
	Restarts bool          // optional: restarts of an agent, of a controller and of FRR are measured, too
	Quiet    time.Duration // optional: how long Herald must write nothing to have settled; 0 means 3 s
	Settle   time.Duration // optional: how long to wait for that; 0 means 2 minutes

	Progress func(format string, args ...any) // optional: hears what is going on
}

// A bench is one run.
type bench struct {
	*lab.Stack
	opts   Options
	client kubernetes.Interface
	book   *book           // addresses of Services
	routes *lab.RouteWatch // r1's kernel
	made   int             // Services made to be measured, for their names
	report *Report
	before map[string]lab.Usage // at the end of the last phase
	start  time.Time            // of the present phase
}

// Run measures. The Stack has Config. With an error there is a Report of what was measured
// until then.
func Run(ctx context.Context, s *lab.Stack, opts Options) (*Report, error) {
	b := &bench{Stack: s, opts: opts}
	b.opts.Quiet, b.opts.Settle = cmp.Or(opts.Quiet, 3*time.Second), cmp.Or(opts.Settle, 2*time.Minute)
	if opts.Progress == nil {
		b.opts.Progress = func(string, ...any) {}
	}
	b.report = &Report{
		Services: opts.Services, Samples: opts.Samples, Nodes: len(s.Nodes), CPUs: runtime.NumCPU(),
	}
	config := s.Cluster.RESTConfig(controlplane.Admin)
	config.ContentType = "application/vnd.kubernetes.protobuf" // half the API server's work
	var err error
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if b.routes, err = s.Router.WatchRoutes(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer b.routes.Close()
	start := time.Now()
	err = b.run(ctx)
	b.report.Took = Seconds(time.Since(start))
	if err != nil {
		return b.report, fmt.Errorf("bench: %w", err)
	}
	return b.report, nil
}

// run measures everything, one phase after the other.
func (b *bench) run(ctx context.Context) (err error) {
	if err := b.SetBackends(ctx, controlplane.ServiceOptions{Namespace: b.opts.Namespace, Name: b.opts.Namespace}); err != nil {
		return err
	}
	if b.book, err = keepBook(ctx, b.client, b.opts.Namespace); err != nil {
		return err
	}
	defer b.book.close()
	// The first Service waits for the sessions; it is not measured.
	if t := b.one(ctx); t.err != nil {
		return t.err
	}
	if err := b.begin(); err != nil {
		return err
	}
	if err := b.series(ctx, "idle", b.opts.Samples); err != nil {
		return err
	}
	held := mass{prefix: "held", size: b.opts.Services, stored: true}
	b.report.Held.Name = "held"
	if err := b.fill(ctx, held, &b.report.Held); err != nil {
		return err
	}
	if err := b.series(ctx, "full", b.opts.Samples); err != nil {
		return err
	}
	if err := b.churn(ctx, held); err != nil {
		return err
	}
	if b.opts.Restarts {
		if err := b.restarts(ctx, held); err != nil {
			return err
		}
	}
	for n := range b.opts.Rounds {
		b.report.Rounds = append(b.report.Rounds, Load{Name: fmt.Sprintf("round %d", n+1)})
		burst := mass{prefix: "burst", size: b.opts.Burst}
		if err := b.fill(ctx, burst, &b.report.Rounds[n]); err != nil {
			return err
		}
		if err := b.drop(ctx, burst, &b.report.Rounds[n]); err != nil {
			return err
		}
	}
	return b.drop(ctx, held, &b.report.Held)
}

// begin starts the first phase.
func (b *bench) begin() (err error) {
	b.start = time.Now()
	b.before, err = b.Usage()
	return err
}

// end ends a phase: it takes down what each program has used since the last one.
func (b *bench) end(name string) error {
	now, err := b.Usage()
	if err != nil {
		return err
	}
	used := map[string]Seconds{}
	for name, u := range now {
		used[name] = Seconds(u.CPU)
		if before, ok := b.before[name]; ok && before.PID == u.PID {
			used[name] -= Seconds(before.CPU)
		}
	}
	b.report.Phases = append(b.report.Phases, Phase{Name: name, Took: Seconds(time.Since(b.start)), CPU: used})
	b.opts.Progress("%s: %s", name, time.Since(b.start).Round(time.Millisecond))
	b.before, b.start = now, time.Now()
	return nil
}

// memory returns what Herald's daemons take.
func (b *bench) memory(ctx context.Context) (map[string]Memory, error) {
	now, err := b.Usage()
	if err != nil {
		return nil, err
	}
	all := map[string]Memory{}
	for _, d := range b.daemons() {
		heap, err := d.Heap(ctx)
		if err != nil {
			return nil, err
		}
		u := now[d.Name]
		all[d.Name] = Memory{RSS: Megabytes(u.RSS), PSS: Megabytes(u.PSS), Own: Megabytes(u.Own), Peak: Megabytes(u.Peak), Heap: Megabytes(heap)}
	}
	return all, nil
}
