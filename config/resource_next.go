// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Next returns what is in force once the objects are these. A bad object harms
// itself alone: its last version that was in force stays so, and where objects
// cannot be in force together, the one that changed gives way. The same input
// gives the same output, and a Config that does not change is the same *Config.
func (r Resolved) Next(now Resources) Resolved {
	s := &settlement{before: r, secrets: map[string]PasswordSecret{}, kept: map[ID]bool{}, protection: now.Protection}
	for _, secret := range now.Secrets {
		s.secrets[secret.Name] = secret
	}
	for _, o := range now.Objects {
		s.candidates = append(s.candidates, s.candidate(o))
	}
	slices.SortFunc(s.candidates, func(a, b *candidate) int { return a.object.Compare(b.object.ID) })
	s.eliminate()
	s.restore()
	s.conclude()
	return s.remember(s.result())
}

// A candidate is an object, and which version of it is to be in force.
type candidate struct {
	fields []*FieldError // of VerdictInvalid: the mistakes one by one

	object   Object
	newest   *version // nil: it makes no sense
	fallback *version // in force before, if not the newest; may be nil
	chosen   *version // one of these; nil: none
	standing int      // of the newest: whom it gives way to
	reason   string   // why the newest is not in force; empty: it is
	messages []string
	ending   bool     // it is being deleted, and newest stands for that
	missing  []string // what the chosen version refers to and is gone, so that it goes on with what was there
	gone     string   // the reason of the first of these
}

// Standings of a version: a later one gives way to an earlier one.
const (
	confirmed  = iota // the object's status says that it is in force
	incumbent         // it is in force
	challenger        // it is new
)

// A settlement is the search for versions that can be in force together.
type settlement struct {
	before     Resolved
	secrets    map[string]PasswordSecret
	candidates []*candidate // in the order of their IDs
	kept       map[ID]bool  // those with something missing
	protection *Protection  // nil: nothing is protected
}

func (s *settlement) candidate(o Object) *candidate {
	c := &candidate{object: o, standing: challenger}
	last := s.before.inForce[o.ID]
	if len(o.InForce) > 0 && (last == nil || s.follows(o)) {
		last = remembered(o)
	}
	if last != nil && last.object.sameVersion(o) {
		c.newest, c.standing = last, incumbent
	} else {
		var err error
		if c.newest, err = decode(o); err != nil {
			c.refuse(VerdictInvalid, oneLine(err))
			c.fields = fieldErrors(err)
		}
		c.fallback = last
	}
	if o.Accepted {
		c.standing = confirmed
	}
	c.chosen = cmp.Or(c.newest, c.fallback)
	s.end(c)
	return c
}

// remembered returns the version that an object's status says is in force in
// place of a newer one.
func remembered(o Object) *version {
	var m rememberedVersion
	if json.Unmarshal(o.InForce, &m) != nil {
		return nil
	}
	o.Labels, o.Annotations, o.Spec = m.Labels, m.Annotations, m.Spec
	v, err := decode(o)
	if err != nil {
		return nil
	}
	return v
}

// memory returns what remembered reads.
func (v *version) memory() []byte {
	spec := v.object.Spec
	if len(spec) == 0 {
		spec = []byte("{}")
	}
	b, err := json.Marshal(rememberedVersion{v.object.Labels, v.object.Annotations, spec})
	if err != nil {
		return nil // it was JSON when it was read
	}
	return b
}

func (c *candidate) refuse(reason, message string) {
	if c.reason == "" {
		c.reason = reason
	}
	if !slices.Contains(c.messages, message) {
		c.messages = append(c.messages, message)
	}
}

// weaker reports whether a gives way to b.
func (c *candidate) weaker(o *candidate) bool {
	return cmp.Or(
		c.rank()-o.rank(),
		slices.Index(ResourceKinds, c.object.Kind)-slices.Index(ResourceKinds, o.object.Kind),
		c.object.Created.Compare(o.object.Created),
		c.object.Compare(o.object.ID)) > 0
}

func (c *candidate) rank() int {
	if c.chosen == c.fallback {
		return incumbent
	}
	return c.standing
}

// check looks at the chosen versions together.
func (s *settlement) check() *set {
	var chosen []*version
	for _, c := range s.candidates {
		if c.chosen != nil {
			chosen = append(chosen, c.chosen)
		}
	}
	found := check(chosen, s.secrets, s.kept)
	found.borrowed = map[string]bool{}
	// A profile that is gone, or refused, stays for the peers that keep it.
	for id := range s.kept {
		if old := s.before.inForce[id]; old != nil && old.peer != nil && old.peer.BFDProfile != "" {
			if name := old.peer.BFDProfile; found.profiles[name] == nil && s.before.profile(name) != nil {
				found.profiles[name] = s.before.profile(name)
				found.borrowed[name] = true
			}
		}
	}
	s.protect(found)
	return found
}

// profile returns a profile that was in force.
func (r Resolved) profile(name string) *BFDProfile {
	if r.Config == nil {
		return nil
	}
	i := slices.IndexFunc(r.Config.BFDProfiles, func(b BFDProfile) bool { return b.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Config.BFDProfiles[i]
}

// eliminate makes the weaker give way until the rest can be in force together.
func (s *settlement) eliminate() {
	byID := map[ID]*candidate{}
	for _, c := range s.candidates {
		byID[c.object.ID] = c
	}
	for {
		found := s.check()
		if len(found.problems) == 0 {
			return
		}
		touched := map[ID]bool{}
		for _, p := range found.problems {
			if slices.ContainsFunc(p.of, func(id ID) bool { return touched[id] }) {
				continue // it may be solved
			}
			var loser *candidate
			for _, id := range p.of {
				if c := byID[id]; c != nil && (loser == nil || c.weaker(loser)) {
					loser = c
				}
			}
			touched[loser.object.ID] = true
			s.giveWay(loser, p)
		}
	}
}

// giveWay chooses the next best version of an object.
func (s *settlement) giveWay(c *candidate, p problem) {
	id := c.object.ID
	message := p.say(id)
	if p.reference && !s.kept[id] && s.before.inForce[id] == c.chosen {
		s.kept[id] = true
		c.gone = cmp.Or(c.gone, p.reason)
		c.missing = append(c.missing, message)
		return
	}
	if c.chosen == c.newest {
		c.refuse(p.reason, message)
		c.chosen = c.fallback
		return
	}
	c.refuse(p.reason, message)
	c.chosen = nil
	delete(s.kept, id)
}

// restore tries whether what gave way to something that gave way itself can be
// in force after all.
func (s *settlement) restore() {
	for changed := true; changed; {
		changed = false
		for _, c := range s.candidates {
			if c.reason == "" || c.newest == nil && !c.ending || c.chosen == c.newest {
				continue
			}
			chosen, kept := c.chosen, s.kept[c.object.ID]
			delete(s.kept, c.object.ID)
			c.chosen = c.newest
			problems := s.check().problems
			if len(problems) == 0 {
				c.reason, c.messages, c.missing, c.gone = "", nil, nil, ""
				changed = true
				continue
			}
			// What counts is what it collides with in the end.
			c.reason, c.messages = "", nil
			for _, p := range problems {
				c.refuse(p.reason, p.say(c.object.ID))
			}
			c.chosen = chosen
			if kept {
				s.kept[c.object.ID] = true
			}
		}
	}
}

// result makes a Resolved of the versions that were chosen.
func (s *settlement) result() Resolved {
	found := s.check()
	out := Resolved{Config: &Config{}, inForce: map[ID]*version{}}
	found.refused = map[ID]bool{}
	for _, c := range s.candidates {
		found.refused[c.object.ID] = c.chosen == nil
	}
	for _, c := range s.candidates {
		if c.chosen != nil {
			out.inForce[c.object.ID] = s.resolve(found, c.chosen, out.Config)
		}
	}
	out.Config.Communities = found.sortedAliases()
	for name, b := range found.profiles {
		if !slices.ContainsFunc(out.Config.BFDProfiles, func(o BFDProfile) bool { return o.Name == name }) {
			out.Config.BFDProfiles = append(out.Config.BFDProfiles, *b)
		}
	}
	slices.SortFunc(out.Config.BFDProfiles, func(a, b BFDProfile) int { return cmp.Compare(a.Name, b.Name) })
	warnings := map[ID][]string{}
	for _, w := range out.Config.warnings() {
		warnings[w.of] = append(warnings[w.of], w.text)
	}
	for _, c := range s.candidates {
		out.Verdicts = append(out.Verdicts, c.verdict(found, warnings[c.object.ID]))
	}
	if s.before.Config != nil && reflect.DeepEqual(s.before.Config, out.Config) {
		out.Config = s.before.Config
	}
	return out
}

// resolve adds a version to a Config, and returns it as it is to be
// remembered.
func (s *settlement) resolve(found *set, v *version, cfg *Config) *version {
	kept := s.kept[v.object.ID]
	switch {
	case v.pool != nil:
		cfg.Pools = append(cfg.Pools, v.pool.Pool)
	case v.profile != nil:
		cfg.BFDProfiles = append(cfg.BFDProfiles, *v.profile)
	case v.peer != nil:
		p := v.peer.Peer
		var err error
		if p.Password, p.PasswordCut, err = found.password(v.peer); err != nil && kept {
			old := s.before.peer(p.Name)
			p.Password, p.PasswordCut = old.Password, old.PasswordCut
		}
		cfg.Peers = append(cfg.Peers, p)
	case v.bgp != nil:
		ad := v.bgp.BGPAdvertisement
		var err *unresolved
		if ad.Communities, err = found.resolve(v.bgp); err != nil && kept {
			ad.Communities = s.before.advertisement(ad.Name).Communities
		}
		cfg.BGPAdvertisements = append(cfg.BGPAdvertisements, ad)
	case v.l2 != nil:
		cfg.L2Advertisements = append(cfg.L2Advertisements, *v.l2)
	}
	return v
}

// peer returns a peer that was in force.
func (r Resolved) peer(name string) Peer {
	for _, p := range r.Config.Peers {
		if p.Name == name {
			return p
		}
	}
	return Peer{}
}

// advertisement returns a BGP advertisement that was in force.
func (r Resolved) advertisement(name string) BGPAdvertisement {
	for _, a := range r.Config.BGPAdvertisements {
		if a.Name == name {
			return a
		}
	}
	return BGPAdvertisement{}
}

// verdict says what became of an object, given what else is probably not meant
// of one that is in force.
func (c *candidate) verdict(found *set, warnings []string) Verdict {
	v := Verdict{ID: c.object.ID, UID: c.object.UID, Generation: c.object.Generation, Reason: VerdictAccepted, Accepted: true}
	if c.chosen != nil && c.chosen.peer != nil {
		v.Nodes = c.chosen.peer.NodeSelectors
	}
	if c.newest != nil && c.newest.peer != nil {
		v.Nodes = c.newest.peer.NodeSelectors
	}
	found.refer(&v, c.newest)
	messages := slices.Clone(c.messages)
	for _, m := range c.missing {
		if !slices.Contains(messages, m) {
			messages = append(messages, m)
		}
	}
	switch {
	case c.reason != "":
		v.Reason, v.Accepted, v.Fields = c.reason, false, c.fields
		if c.chosen != nil {
			v.InForce = c.chosen.memory()
			messages = append(messages, "its last valid version stays in force")
		} else if c.object.UID != "" { // that of a file is in force nowhere
			messages = append(messages, "no version of it is in force")
		}
	case len(c.missing) > 0:
		v.Reason, v.Accepted = c.gone, false
		messages = append(messages, "it goes on with what was there before")
	default:
		v.Notes = found.notes(c.chosen)
		messages = slices.Concat([]string{"in force"}, v.Notes, warnings)
	}
	v.Message = strings.Join(messages, "; ")
	return v
}

// oneLine joins the lines of an error.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Err returns what is refused as one error, nil if all is in force.
func (r Resolved) Err() error {
	var errs []error
	for _, v := range r.Refused() {
		errs = append(errs, fmt.Errorf("%s: %s: %s", v.ID, v.Reason, v.Message))
	}
	return errors.Join(errs...)
}
