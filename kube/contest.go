// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

const (
	// contestFree is how many writes to an object another writer may undo before
	// Herald holds back: an edit of a status by hand is corrected at once.
	contestFree = 3
	// contestShortest and contestLongest bound how long Herald holds back.
	contestShortest = 2 * time.Second
	contestLongest  = 5 * time.Minute
	// contestQuiet is how long a write must stand at least before the other writer
	// counts as silent.
	contestQuiet = time.Minute
)

// EventContested is the reason of the warning about an object whose status another
// writer keeps changing.
const EventContested = "StatusContested"

// ContestsOptions say where Contests are reported.
type ContestsOptions struct {
	Client *Client      // required
	Events *Recorder    // optional: nil writes no events
	Logger *slog.Logger // required
}

// Contests are the objects that another writer changes after Herald has written
// them. Two writers that correct each other without a pause keep an API server busy
// for ever. So Herald holds back: twice as long each time, 5 minutes at most, until
// a write stands. Each contest is reported once, by an event of the object and a line
// of log.
//
// All writers of a process share them. Their methods are safe for concurrent use.
type Contests struct {
	opts ContestsOptions
	news chan subject // contests to report

	mu       sync.Mutex // guards the fields below
	objects  map[subject]*contest
	reported map[string]bool // by subject.group
	swept    time.Time
}

// A subject is an object that Herald writes. It is comparable.
type subject struct {
	kind, namespace, name string
	uid                   string // an object that is created again is another one; empty: whichever has the name
	group                 string // contests of a group are reported together; empty: by itself
}

// A contest is what is remembered of an object that was written.
type contest struct {
	left    string    // what it said after the last write
	version string    // which version that was; empty: not known
	wrote   time.Time // when
	doubt   bool      // a write failed since, and may have been carried out all the same
	undone  bool      // somebody has changed it since
	count   int       // how many writes in a row were undone
	next    time.Time // not to be written before
	writer  string    // field manager of the other; empty: not known
}

// NewContests returns Contests of which there are none.
func NewContests(opts ContestsOptions) *Contests {
	return &Contests{opts: opts, news: make(chan subject, 64), objects: map[subject]*contest{}, reported: map[string]bool{}}
}

// Run reports contests until the context is canceled.
func (c *Contests) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-c.news:
			c.report(ctx, s)
		}
	}
}

// hold returns how long to wait before an object is written whose fields, in this
// version, say has. 0: it may be written now. An empty version is newer than any.
func (c *Contests) hold(s subject, version, has string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	o := c.objects[s]
	if o == nil || !newer(o.version, version) {
		return 0
	}
	if o.doubt && has != o.left {
		o.left, o.version, o.doubt = has, version, false
	}
	if !o.undone && has != o.left {
		if o.stands(now) {
			o.count = 0
		}
		o.undone = true
		o.count++
		o.next = now.Add(delay(o.count))
		if o.count == contestFree+1 {
			select {
			case c.news <- s:
			default: // there are many, and others of them are reported
			}
		}
	}
	return max(0, o.next.Sub(now))
}

// wrote takes note that Herald has written an object, whose fields say has in this
// version.
func (c *Contests) wrote(s subject, version, has string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	o := c.objects[s]
	if o == nil {
		o = &contest{}
		c.objects[s] = o
	}
	o.left, o.version, o.wrote, o.doubt, o.undone = has, version, now, false, false
	c.sweep(now)
}

// failed takes note that a write failed. The next change of the object may be what it was
// to say: the answer may have been lost alone.
func (c *Contests) failed(s subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[s]; o != nil {
		o.doubt = true
	}
}

// forget takes note that Herald deletes an object.
func (c *Contests) forget(s subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.objects, s)
}

// List returns the contests there are, sorted.
func (c *Contests) List() []status.Contest {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.sweep(now)
	var out []status.Contest
	for s, o := range c.objects {
		if o.count > contestFree && !o.over(now) {
			out = append(out, status.Contest{Kind: s.kind, Name: s.String(), Writer: o.writer, Undone: o.count, Next: o.next})
		}
	}
	slices.SortFunc(out, func(a, b status.Contest) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out
}

// sweep forgets, once in a while, what stands.
func (c *Contests) sweep(now time.Time) {
	if now.Sub(c.swept) < contestQuiet {
		return
	}
	c.swept = now
	groups := map[string]bool{}
	for s, o := range c.objects {
		switch {
		case !o.over(now):
			groups[s.group] = groups[s.group] || o.count > contestFree
			continue
		case o.count > contestFree:
			c.opts.Logger.Info("status contested no longer", "kind", s.kind, "object", s.String())
		}
		delete(c.objects, s)
	}
	for group := range c.reported {
		if !groups[group] {
			delete(c.reported, group)
		}
	}
}

// stands reports whether the last write stood so long that the other writer counts
// as silent.
func (o *contest) stands(now time.Time) bool {
	return now.Sub(o.wrote) >= max(contestQuiet, 2*delay(o.count))
}

// over reports whether there is nothing to remember: the last write stands, or
// Herald had no reason to write the object for a long time.
func (o *contest) over(now time.Time) bool {
	if o.undone {
		return now.Sub(o.next) >= 2*contestLongest
	}
	return o.stands(now)
}

// delay returns how long Herald holds back when so many of its writes in a row
// were undone.
func delay(undone int) time.Duration {
	if undone <= contestFree {
		return 0
	}
	return min(contestLongest, contestShortest<<min(undone-contestFree-1, 10))
}

// newer reports whether version b is newer than a.
func newer(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil && a != b || order < 0
}

// String returns the object's name, with its namespace if that is not Herald's.
func (s subject) String() string {
	if s.kind == serviceSubject {
		return s.namespace + "/" + s.name
	}
	return s.name
}

// serviceSubject is the kind of a subject that is no resource of MetalLB's group.
const serviceSubject = "Service"

// report reports a contest.
func (c *Contests) report(ctx context.Context, s subject) {
	writer, uid, err := c.opts.Client.statusWriter(ctx, s)
	if err != nil && ctx.Err() == nil {
		c.opts.Logger.Warn("writer of a status not known", "kind", s.kind, "object", s.String(), "err", err)
	}
	c.mu.Lock()
	o := c.objects[s]
	reported := s.group != "" && c.reported[s.group]
	if o != nil {
		o.writer = writer
	}
	if s.group != "" {
		c.reported[s.group] = true
	}
	c.mu.Unlock()
	if o == nil || reported {
		return
	}
	c.opts.Logger.Warn("status contested", "kind", s.kind, "object", s.String(), "writer", writer,
		"reason", "another controller undoes what this one writes, which therefore writes more rarely")
	if c.opts.Events != nil && uid != "" {
		c.opts.Events.add(s.reference(uid), cluster.Event{Warning: true, Reason: EventContested, Message: s.message(writer)})
	}
}

// message says what to do about a contest.
func (s subject) message(writer string) string {
	if writer != "" {
		writer = fmt.Sprintf(" (field manager %s)", writer)
	}
	cure := "run Herald in a namespace of its own (--namespace), with pools of its own"
	if s.kind == serviceSubject {
		cure = "stop the other load balancer, or create the Service again with a loadBalancerClass"
	}
	return fmt.Sprintf("another controller%s writes the status of %s %s and undoes what Herald writes; Herald tries again in %s, and less and less often, once in %s at last; %s",
		writer, s.kind, s, contestShortest, contestLongest, cure)
}

// reference returns what an event is about.
func (s subject) reference(uid types.UID) corev1.ObjectReference {
	version := "v1"
	if s.kind != serviceSubject {
		version = customGroup + "/" + customKinds[s.kind].version
	}
	return corev1.ObjectReference{APIVersion: version, Kind: s.kind, Namespace: s.namespace, Name: s.name, UID: uid}
}
