// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/l2/members/memberstest"
)

// limit is how long anything may take, in fake time.
const limit = 2 * time.Minute

// A Phase is what happened in one part of a simulation.
type Phase struct {
	Name       string
	Took       time.Duration // in fake time, until everything was as it should be
	Decided    time.Duration // until all agents had decided; statuses may follow
	Seconds    float64       // of fake time that was measured
	CPU        float64       // seconds of the whole process
	Agents     Account       // of one agent that runs as a whole, on average
	Announcing Account       // of all of them together
	Silent     Account       // of all those that announce nothing
	Controller Account
	Gossip     Traffic // of one agent, on average
}

// Traffic is what gossip cost one agent.
type Traffic struct{ Packets, Bytes, Streamed float64 }

// A Report is what a simulation has found.
type Report struct {
	Agents, Services, Whole int
	Gossip                  bool
	Phases                  []Phase
	Objects                 map[string]int // by resource, at the end
}

// Run simulates a cluster. It has to be called outside a bubble of synctest.
func Run(t *testing.T, o Options) (r Report, err error) {
	synctest.Test(t, func(t *testing.T) {
		s, failed := start(o)
		if failed != nil {
			err = failed
			return
		}
		r = Report{Agents: o.Agents, Services: o.Services, Whole: o.Whole, Gossip: !o.Roster, Objects: map[string]int{}}
		err = s.phases(&r)
		for plural := range kinds {
			r.Objects[plural] = s.api.Count(plural)
		}
		err = errors.Join(err, s.end())
		time.Sleep(time.Minute) // memberlist's last timers
	})
	return r, err
}

// phases carries out all steps.
func (s *simulated) phases(r *Report) error {
	steps := []struct {
		name string
		do   func(p *Phase) error
	}{
		{"start", s.started},
		{"settle", s.settle},
		{"idle", s.idle},
		{"endpoints", s.endpoints},
		{"partition", s.partition},
		{"heal", s.heal},
		{"restart", s.restarts},
	}
	for _, step := range steps {
		if s.Roster && (step.name == "partition" || step.name == "heal") {
			continue
		}
		p, err := s.measure(step.name, step.do)
		r.Phases = append(r.Phases, p)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// measure counts what a step costs.
func (s *simulated) measure(name string, do func(*Phase) error) (Phase, error) {
	s.Logger.Info("phase", "name", name)
	s.api.Accounts()
	sent, cpu, begun := s.sent(), processor(), time.Now()
	p := Phase{Name: name}
	err := do(&p)
	p.Seconds, p.CPU = time.Since(begun).Seconds(), processor()-cpu
	total := s.sent()
	n := float64(s.Agents)
	p.Gossip = Traffic{float64(total.Packets-sent.Packets) / n, float64(total.Bytes-sent.Bytes) / n, float64(total.Streamed-sent.Streamed) / n}
	accounts := s.api.Accounts()
	p.Controller = accounts[controllerName]
	for i, a := range s.whole {
		account := accounts[nodeName(i)]
		p.Agents.add(account)
		if len(a.layer2.holds())+a.frr.announces() == 0 {
			p.Silent.add(account)
		} else {
			p.Announcing.add(account)
		}
	}
	p.Agents.divide(max(len(s.whole), 1))
	return p, err
}

// sent returns what all agents have sent by gossip so far.
func (s *simulated) sent() (all memberstest.Traffic) {
	for i := range s.Agents {
		t := s.network.Sent(nodeAddr(i))
		all.Packets, all.Bytes, all.Streamed = all.Packets+t.Packets, all.Bytes+t.Bytes, all.Streamed+t.Streamed
	}
	return all
}

// processor returns the seconds of processor time that this process has used.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// divide makes an account that of one of n clients.
func (a *Account) divide(n int) {
	for k := range a.Requests {
		a.Requests[k] /= n
	}
	a.Writes, a.Sent, a.Received, a.Events, a.Watched = a.Writes/n, a.Sent/n, a.Received/n, a.Events/n, a.Watched/n
}

// started waits until all agents that were started know each other and announce.
func (s *simulated) started(p *Phase) (err error) {
	if p.Decided, err = s.await("all agents decide", limit, func() cause { return cmp.Or(s.known(everywhere), s.owned(everywhere), s.routedTo()) }); err != nil {
		return err
	}
	p.Took, err = s.await("all agents have reported", 10*limit, s.right)
	p.Took += p.Decided
	return err
}

// idle lets time pass.
func (s *simulated) idle(*Phase) error {
	time.Sleep(s.Idle)
	return nil
}

// settle waits until what was begun before has come to an end, such as events.
func (s *simulated) settle(*Phase) error {
	time.Sleep(s.Settle)
	return nil
}

// endpoints moves endpoints, one after the other.
func (s *simulated) endpoints(p *Phase) error {
	for n := range s.Changes {
		s.move(n * 31 % s.Services)
		took, err := s.await("the endpoint's new node announces", limit, func() cause { return cmp.Or(s.owned(everywhere), s.routedTo()) })
		if err != nil {
			return err
		}
		p.Decided = max(p.Decided, took)
	}
	var err error
	p.Took, err = s.await("all agents have reported", limit, s.right)
	time.Sleep(s.Settle) // the controller's conditions and events follow
	return err
}

// partition cuts gossip in two halves.
func (s *simulated) partition(p *Phase) (err error) {
	for i := range s.Agents {
		if secondHalf.has(s.Agents, i) {
			s.network.Part(1, nodeAddr(i))
		}
	}
	s.crowd.split(s.followers(firstHalf), s.followers(secondHalf))
	p.Took, err = s.await("each half knows itself", limit, func() cause { return cmp.Or(s.known(firstHalf), s.known(secondHalf)) })
	if err == nil {
		p.Decided, err = s.await("each half has one owner for each address", limit, func() cause { return cmp.Or(s.owned(firstHalf), s.owned(secondHalf)) })
	}
	return err
}

// heal makes the network whole.
func (s *simulated) heal(p *Phase) (err error) {
	for i := range s.Agents {
		s.network.Part(0, nodeAddr(i))
	}
	p.Decided, err = s.await("all know each other, and agree", limit, func() cause { return cmp.Or(s.known(everywhere), s.owned(everywhere)) })
	s.crowd.split(s.followers(everywhere))
	if err == nil {
		p.Took, err = s.await("everything is right", limit, s.right)
		p.Took += p.Decided
	}
	return err
}

// restarts restarts all agents, one group after the other.
func (s *simulated) restarts(p *Phase) error {
	begun := time.Now()
	for g := range s.Groups {
		var group []int
		for i := range s.Agents {
			if i%s.Groups == g {
				group = append(group, i)
			}
		}
		if err := s.restart(group); err != nil {
			return err
		}
		took, err := s.await("the restarted agents announce", limit, func() cause { return cmp.Or(s.known(everywhere), s.owned(everywhere), s.routedTo()) })
		if err != nil {
			return err
		}
		p.Decided = max(p.Decided, took)
	}
	_, err := s.await("everything is right", 10*limit, s.right)
	p.Took = time.Since(begun)
	time.Sleep(s.Settle) // the objects get their new owners
	return err
}
