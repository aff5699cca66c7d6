// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// The kinds of MetalLB's custom resources that hold configuration.
const (
	KindPool             = "IPAddressPool"
	KindBFDProfile       = "BFDProfile"
	KindCommunity        = "Community"
	KindPeer             = "BGPPeer"
	KindBGPAdvertisement = "BGPAdvertisement"
	KindL2Advertisement  = "L2Advertisement"
)

// ResourceKinds are the kinds that hold configuration. Where two objects cannot
// both be in force and nothing else tells them apart, the one whose kind comes
// first here is.
var ResourceKinds = []string{KindPool, KindBFDProfile, KindCommunity, KindPeer, KindBGPAdvertisement, KindL2Advertisement}

// ResourceGroup is the API group of the custom resources.
const ResourceGroup = "metallb.io"

// An ID names a custom resource in Herald's namespace.
type ID struct{ Kind, Name string }

// String returns "IPAddressPool/wan".
func (i ID) String() string { return i.Kind + "/" + i.Name }

// Compare orders IDs by kind, as ResourceKinds does, then name.
func (i ID) Compare(o ID) int {
	return cmp.Or(slices.Index(ResourceKinds, i.Kind)-slices.Index(ResourceKinds, o.Kind), cmp.Compare(i.Name, o.Name))
}

// An Object is one version of a custom resource.
type Object struct {
	ID
	UID         string
	Generation  int64
	Created     time.Time
	Labels      map[string]string
	Annotations map[string]string // those that ReadAnnotations returns
	Spec        []byte            // JSON; empty: there is none

	// What the object's status remembers for a process that starts.
	Accepted bool   // this generation was in force
	Judged   string // the reason of the last Verdict on any generation; empty: there was none
	Withheld bool   // this generation is refused as VerdictInUse

	Deleting bool   // it is gone once nobody holds it any more
	InForce  []byte // what was in force in place of a refused generation, as a Verdict has it
}

// sameVersion reports whether o says what p does.
func (o Object) sameVersion(p Object) bool {
	return bytes.Equal(o.Spec, p.Spec) && maps.Equal(o.Labels, p.Labels) && maps.Equal(o.Annotations, p.Annotations)
}

// A remembered version is what Object.InForce holds.
type rememberedVersion struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        json.RawMessage   `json:"spec"`
}

// Secrets returns the names of the Secrets that the object refers to, in order: in its
// newest version, and in the one that its status says is in force in place of that.
func (o Object) Secrets() []string {
	if o.Kind != KindPeer {
		return nil
	}
	names := []string{secretOf(o.Spec)}
	var m rememberedVersion
	if len(o.InForce) > 0 && json.Unmarshal(o.InForce, &m) == nil {
		names = append(names, secretOf(m.Spec))
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// secretOf returns the name of the Secret that the spec of a peer refers to; empty: none.
func secretOf(spec []byte) string {
	var s struct{ PasswordSecret struct{ Name string } }
	_ = json.Unmarshal(spec, &s) // a spec that makes no sense is refused for that
	return s.PasswordSecret.Name
}

// The type and the key of a Secret that holds the password of a peer.
const (
	PasswordSecretType = "kubernetes.io/basic-auth"
	PasswordSecretKey  = "password"
)

// A PasswordSecret is a Secret that a peer's password may be in.
type PasswordSecret struct {
	Namespace, Name string
	Type            string
	HasKey          bool // it has a key "password"
	NotBase64       bool // in a file: what is under that key cannot be decoded
	Password        Secret

	Unread string // why Herald could not read it, whether it is there or not; empty: it did
}

// Resources are all custom resources of Herald's namespace, and the Secrets that these
// refer to.
type Resources struct {
	Objects []Object
	Secrets []PasswordSecret

	Protection *Protection // nil: what Services use is not protected
}

// Reasons of a Verdict.
const (
	VerdictAccepted = "Accepted"         // the object is in force
	VerdictInvalid  = "Invalid"          // it makes no sense by itself
	VerdictConflict = "Conflict"         // it cannot be in force beside another object
	VerdictMissing  = "MissingReference" // what it refers to does not exist, or is refused
	VerdictInUse    = "AddressesInUse"   // it would take addresses away that Services use
	VerdictDeleted  = "Deleted"          // it is being deleted, and nothing stands in the way
	VerdictIgnored  = "Ignored"          // the configuration comes from somewhere else
)

// A Verdict says what became of the newest version of an object.
type Verdict struct {
	// Fields are the mistakes of VerdictInvalid one by one. Message has them, too.
	Fields []*FieldError

	ID
	UID        string
	Generation int64
	Accepted   bool
	Reason     string
	Message    string
	Notes      []string   // of an accepted object: what is probably not meant, in addition to Config.Warnings; Message has both
	InForce    []byte     // an older version that is in force in its place, as JSON; nil: none is; of a protected pool the version in force, always
	Nodes      []Selector // of a BGPPeer or an advertisement: where it is meant to run; empty: everywhere
	Interfaces []string   // of an L2Advertisement: where its addresses are to be answered; empty: wherever they can be

	// Refers says that the object can refer to something, Missing what of that does
	// not exist, and Empty which selectors match no pool: one sentence each. Of an
	// object that makes no sense by itself none of it is known.
	Refers  bool
	Missing []string
	Empty   []string
}

// Resolved is what became of Resources. It is immutable.
type Resolved struct {
	Config   *Config   // what is in force; nil in the zero Resolved alone
	Verdicts []Verdict // one for each object, in the order of their IDs

	inForce map[ID]*version
}

// Refused returns the verdicts that are not in favor, but for those on objects that
// go.
func (r Resolved) Refused() []Verdict {
	var out []Verdict
	for _, v := range r.Verdicts {
		if !v.Accepted && v.Reason != VerdictDeleted {
			out = append(out, v)
		}
	}
	return out
}

// Ignored returns verdicts for objects that are not looked at, and why.
func Ignored(objects []Object, why string) []Verdict {
	var out []Verdict
	for _, o := range objects {
		out = append(out, Verdict{ID: o.ID, UID: o.UID, Generation: o.Generation, Reason: VerdictIgnored, Message: why})
	}
	slices.SortFunc(out, func(a, b Verdict) int { return a.Compare(b.ID) })
	return out
}
