// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/status"
)

// patience is how long a program may take to come to rest, in the time of the machine.
const patience = 10 * time.Minute

// A Footprint is what one agent and the controller need, each alone in the process. Times
// are in milliseconds: the median of some passes after one change each.
type Footprint struct {
	Agents, Services int

	AgentHeap, ControllerHeap int // bytes that are in use after the first passes

	First      float64 // of an agent that starts
	Endpoint   float64 // an endpoint has moved
	Status     float64 // a Service's status was written
	Membership float64 // another agent stopped, or started
}

// Alone measures one agent, which is elected for its share of addresses, and the controller.
func Alone(o Options) (f Footprint, err error) {
	f.Agents, f.Services = o.Agents, o.Services
	api, r := NewAPI(), newRoster()
	w := world{api, o.Agents, o.Edge}
	w.fill(o.Services)
	for i := 1; i < o.Agents; i++ {
		s := stateOf(i, nil, false)
		r.set(nodeName(i), &s)
	}
	join := func(changed func()) (Members, []task) { return r.join(nodeName(0), changed), nil }
	var a *agent
	f.AgentHeap, err = heapOf(func() (func() error, error) {
		a, err = startAgent(api, 0, 0, o.Logger, join)
		if err != nil {
			return nil, err
		}
		return a.stop, comesToRest(api, nodeName(0), a.passes.Load)
	}, func() error {
		f.First = float64(a.longest.Load()) / 1e6
		other := max(1, o.Agents-1)
		state := stateOf(other, nil, false)
		moved := make([]int, o.Services)
		var failed error
		f.Endpoint = a.median(o.Changes, &failed, func(n int) {
			i := n * 62 % o.Services // of a Service that is announced over BGP
			moved[i]++
			w.place(i, moved[i])
		})
		f.Status = a.median(o.Changes, &failed, func(n int) {
			s := serviceObject(n * 31 % o.Services)
			s.Labels["changed"] = fmt.Sprint(n)
			api.Put(services, s)
		})
		f.Membership = a.median(o.Changes, &failed, func(n int) {
			if n%2 == 0 {
				r.set(nodeName(other), nil)
			} else {
				r.set(nodeName(other), &state)
			}
		})
		return failed
	})
	if err != nil {
		return f, err
	}
	f.ControllerHeap, err = heapOf(func() (func() error, error) {
		c := &counter{}
		stop, err := startController(api, o.Logger, c)
		if err != nil {
			return nil, err
		}
		return stop, comesToRest(api, "the controller", c.n.Load)
	}, func() error { return nil })
	return f, err
}

// A counter counts passes.
type counter struct{ n atomic.Int64 }

// Set counts a pass.
func (c *counter) Set(status.Report) { c.n.Add(1) }

// heapOf returns the bytes that what begin starts keeps in use, and then calls then. It is
// started once before, so that what the API server keeps does not count.
func heapOf(begin func() (stop func() error, err error), then func() error) (int, error) {
	stop, err := begin()
	if err != nil {
		return 0, err
	}
	if err := stop(); err != nil {
		return 0, err
	}
	before := heap()
	if stop, err = begin(); err != nil {
		return 0, err
	}
	size := heap() - before
	err = then()
	return size, errors.Join(err, stop())
}

// heap returns the bytes of the heap that are in use.
func heap() int {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// comesToRest waits until there were passes, and none for two seconds, nor a write.
func comesToRest(api *API, who string, passes func() int64) error {
	begun, last, since := time.Now(), int64(0), time.Now()
	for {
		time.Sleep(50 * time.Millisecond)
		if n := passes() + api.written(); n != last {
			last, since = n, time.Now()
		}
		switch {
		case passes() > 0 && time.Since(since) > 2*time.Second:
			return nil
		case time.Since(begun) > patience:
			return fmt.Errorf("%s does not come to rest in %s", who, patience)
		}
	}
}

// median returns the median time of the longest pass after each change, in milliseconds.
func (a *agent) median(changes int, failed *error, change func(n int)) float64 {
	var all []float64
	for n := range changes {
		before := a.passes.Load()
		a.longest.Store(0)
		change(n)
		for begun := time.Now(); a.passes.Load() == before && *failed == nil; time.Sleep(time.Millisecond) {
			if time.Since(begun) > patience {
				*failed = errors.New("the agent does not look at a change")
			}
		}
		time.Sleep(50 * time.Millisecond) // the passes that follow
		all = append(all, float64(a.longest.Load())/1e6)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
