// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"
)

// A station is a link of the node and the sockets on it.
type station struct {
	link   Link
	socket [protocols]socket
}

// A socket is the socket of one protocol on a station.
type socket struct {
	skip      Skip
	needed    bool       // an address needs it
	responder *responder // nil unless it is open
	receiving bool       // the responder's goroutine was started
	stale     bool       // its view is out of date
	roles     map[netip.Addr]*role

	opened   time.Time
	failures int // in a row, to open it or to keep it open
	retry    time.Time
	faults   [faults]error
}

// A fault is an operation that may fail on a socket.
type fault int

const (
	opening fault = iota // the socket, or keeping it open
	sending
	joining // a group
	faults
)

// err returns the faults of the station.
func (st *station) err() error {
	var all []error
	for i := range st.socket {
		all = append(all, st.socket[i].faults[:]...)
	}
	return errors.Join(all...)
}

// fault records that an operation fails, or with a nil error that it works.
func (e *engine) fault(st *station, p Protocol, kind fault, err error) {
	old := &st.socket[p].faults[kind]
	if *old == nil && err == nil {
		return
	}
	switch {
	case err == nil:
		e.a.opts.Logger.Info("interface works again", "iface", st.link.Name, "protocol", p.String())
	case *old == nil:
		e.a.opts.Logger.Warn("interface does not work", "iface", st.link.Name, "protocol", p.String(), "err", err)
	}
	if err != nil {
		err = fmt.Errorf("%s on %s: %w", p, st.link.Name, err)
	}
	*old = err
	e.changed = true
}

// update applies the changes of a link.
func (e *engine) update(st *station, l Link, now time.Time) {
	old := st.link
	st.link = l
	for i := range st.socket {
		p, s := Protocol(i), &st.socket[i]
		s.needed = false // until reconcile finds an address
		skip := l.skip(p, e.in.exclude)
		if skip != s.skip || l != old {
			s.skip = skip
			s.failures, s.retry = 0, time.Time{} // a failed operation may work now
			e.changed = true
		}
		if s.responder == nil || l.MAC == old.MAC && (p == ARP || l.LinkLocal == old.LinkLocal) {
			continue
		}
		// The neighbors have learned an outdated address.
		s.stale = true
		for _, rec := range e.records {
			if pr := rec.presences[l.Index]; pr != nil && protocolOf(rec.want.Addr) == p {
				e.renew(pr, now)
			}
		}
	}
}

// openOrClose opens a socket that is needed and closes one that is not. It returns when to
// try again, or zero.
func (e *engine) openOrClose(st *station, p Protocol, now time.Time) (retry time.Time) {
	s := &st.socket[p]
	if !s.needed {
		e.shut(st, p)
		return time.Time{}
	}
	if s.responder != nil {
		return time.Time{}
	}
	if s.retry.After(now) {
		return s.retry
	}
	port, err := e.a.opts.Network.Open(st.link, p)
	if err != nil {
		e.broken(st, p, fmt.Errorf("open: %w", err), now)
		return s.retry
	}
	e.fault(st, p, opening, nil)
	s.responder = &responder{protocol: p, link: st.link.Index, port: port}
	s.roles = map[netip.Addr]*role{}
	s.opened, s.receiving, s.stale = now, false, true
	e.changed = true
	return time.Time{}
}

// broken records that a socket cannot be opened or has ended.
func (e *engine) broken(st *station, p Protocol, err error, now time.Time) {
	e.fault(st, p, opening, err)
	s := &st.socket[p]
	s.retry = now.Add(backoff(s.failures))
	s.failures++
}

// dropFailed closes the sockets of responders that have ended.
func (e *engine) dropFailed(failures map[*responder]error, now time.Time) {
	for r, err := range failures {
		st := e.stations[r.link]
		if st == nil || st.socket[r.protocol].responder != r {
			continue // the engine has closed it
		}
		s := &st.socket[r.protocol]
		if now.Sub(s.opened) > lastRetry {
			s.failures = 0
		}
		e.shut(st, r.protocol)
		e.broken(st, r.protocol, fmt.Errorf("receive: %w", err), now)
	}
}

// shut closes a socket and removes its presences.
func (e *engine) shut(st *station, p Protocol) {
	s := &st.socket[p]
	s.faults = [faults]error{} // it is not used any more
	if s.responder == nil {
		return
	}
	for _, rec := range e.records {
		if pr := rec.presences[st.link.Index]; pr != nil && protocolOf(rec.want.Addr) == p {
			e.forget(pr)
		}
	}
	port := s.responder.port
	s.responder = nil
	e.changed = true
	// The kernel waits for every processor before a packet socket is closed. Addresses must
	// not wait for that.
	e.tasks.Go(func() error {
		if err := port.Close(); err != nil {
			e.a.opts.Logger.Debug("socket not closed", "iface", st.link.Name, "err", err)
		}
		return nil
	})
}

// publishViews gives the responders new views after changes, and starts new responders.
func (e *engine) publishViews() {
	for _, st := range e.stations {
		for i := range st.socket {
			s := &st.socket[i]
			r := s.responder
			if r == nil || !s.stale {
				continue
			}
			s.stale = false
			r.view.Store(&view{mac: st.link.MAC, linkLocal: st.link.LinkLocal, roles: maps.Clone(s.roles)})
			if !s.receiving {
				s.receiving = true
				e.tasks.Go(func() error {
					e.a.failed(r, e.a.receive(r))
					return nil
				})
			}
		}
	}
}
