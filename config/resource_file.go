// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/manifest"
)

// resourceVersions are the API versions that a kind is served in.
func resourceVersions(kind string) []string {
	if kind == KindPeer {
		return []string{ResourceGroup + "/v1beta2", ResourceGroup + "/v1beta1"}
	}
	return []string{ResourceGroup + "/v1beta1"}
}

// statusKinds are the kinds that report what happened.
var statusKinds = []string{"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"}

// A Place is where Herald's configuration is in a cluster.
type Place struct {
	Namespace string // of resources, Secrets and the ConfigMap; empty: of whichever namespace they are
	ConfigMap string // its name; empty: config
}

// Manifests are the objects of a configuration, as they were written.
type Manifests struct {
	Resources
	Origins    map[ID]*manifest.Object // where each of Resources.Objects is from
	ConfigMaps []ConfigMap             // the one in its Place, else those that could be meant
	Findings   []manifest.Finding      // what is wrong with the objects as such
}

// ReadManifests chooses MetalLB's custom resources, the Secrets that they refer
// to and its ConfigMaps from objects; it ignores other kinds. Findings name what
// the API server would refuse before it looks at a spec, and what is not read
// since it is in another place. An object with a mistake is judged all the same,
// as it was probably meant. What specs say is for Next to judge.
func ReadManifests(objects []*manifest.Object, in Place) Manifests {
	f := &manifestFile{Manifests: Manifests{Origins: map[ID]*manifest.Object{}}, in: in, anywhere: in.Namespace == ""}
	for _, o := range objects {
		f.read(o)
	}
	f.noNamespace()
	for _, o := range objects {
		if o.APIVersion == "v1" && o.Kind == "Secret" {
			f.secret(o)
		}
	}
	f.configMaps(objects)
	return f.Manifests
}

// ReadResources reads a file of manifests as kubectl takes it: MetalLB's custom
// resources of one namespace, whichever that is, and Secrets that they refer to;
// other kinds are ignored. found reports whether there is any custom resource. The
// error is about the file and what the API server would refuse; Next judges the
// specs.
func ReadResources(text []byte) (r Resources, found bool, err error) {
	objects, mistakes := manifest.Read("", text)
	m := ReadManifests(objects, Place{})
	found = len(m.Objects) > 0 || slices.ContainsFunc(objects, func(o *manifest.Object) bool {
		return o.Group() == ResourceGroup && !slices.Contains(statusKinds, o.Kind)
	})
	if err := manifest.ErrorsIn(append(mistakes, m.Findings...)); err != nil {
		return Resources{}, found, err
	}
	return m.Resources, found, nil
}

// A manifestFile is what was read so far.
type manifestFile struct {
	Manifests
	in       Place
	anywhere bool               // the namespace is whichever comes first
	homeless []*manifest.Object // resources without a namespace
}

func (f *manifestFile) find(o *manifest.Object, severity manifest.Severity, id, field, format string, args ...any) {
	f.Findings = append(f.Findings, o.Finding(severity, id, field, format, args...))
}

// read adds an object if it is a custom resource.
func (f *manifestFile) read(o *manifest.Object) {
	known := slices.Contains(ResourceKinds, o.Kind)
	switch {
	case o.Group() == ResourceGroup && slices.Contains(statusKinds, o.Kind):
	case o.Group() == ResourceGroup && o.Kind == "MetalLB":
		f.find(o, manifest.Note, manifest.IDKind, "kind", "the object of MetalLB's operator is not read")
	case o.Group() == ResourceGroup && o.Kind == "":
		f.find(o, manifest.Error, manifest.IDKind, "kind", "missing, want one of %s", strings.Join(ResourceKinds, ", "))
	case o.Group() == ResourceGroup && !known:
		f.find(o, manifest.Error, manifest.IDKind, "kind", "there is no such kind, want one of %s", strings.Join(ResourceKinds, ", "))
	case known && (o.Group() == "" || o.Group() == ResourceGroup || near(o.Group(), ResourceGroup)):
		f.resource(o)
	}
}

// Closest returns which of known was probably meant by key, or "".
func Closest(key string, known []string) string { return closest(key, known) }

// rootMembers are those that an object may have at its root.
var rootMembers = []string{"apiVersion", "kind", "metadata", "spec", "status"}

// resource adds a custom resource.
func (f *manifestFile) resource(o *manifest.Object) {
	if !f.inPlace(o) {
		severity := manifest.Warning // what is applied there does nothing
		if f.anywhere {
			severity = manifest.Error // there is no telling which is meant
		}
		f.find(o, severity, manifest.IDNamespace, "metadata.namespace", "not read: Herald reads namespace %s, this is of %s", f.in.Namespace, o.Namespace)
		return
	}
	if versions := resourceVersions(o.Kind); !slices.Contains(versions, o.APIVersion) {
		what := "missing"
		if o.APIVersion != "" {
			what = quote(o.APIVersion) + " is not served"
		}
		f.find(o, manifest.Error, manifest.IDKind, "apiVersion", "%s, want %s", what, versions[0])
	}
	f.Findings = append(f.Findings, o.Mistakes...)
	if o.Name == "" {
		f.find(o, manifest.Error, manifest.IDMetadata, "metadata.name", "missing")
	}
	for _, m := range o.Members() {
		if !slices.Contains(rootMembers, m) {
			f.find(o, manifest.Error, manifest.IDField, m, "unknown key, want one of %s", strings.Join(rootMembers, ", "))
		}
	}
	id := ID{o.Kind, o.Name}
	if first := f.Origins[id]; first != nil {
		f.find(o, manifest.Error, manifest.IDDuplicate, "", "defined twice, first in %s", where(first))
		return
	}
	if o.Namespace == "" {
		f.homeless = append(f.homeless, o)
	}
	var generation int64
	var metadata struct{ Generation int64 }
	if json.Unmarshal(o.Member("metadata"), &metadata) == nil {
		generation = metadata.Generation
	}
	f.Origins[id] = o
	f.Objects = append(f.Objects, Object{
		ID: id, Generation: generation,
		Labels: o.Labels, Annotations: ReadAnnotations(id.Kind, o.Annotations),
		Spec: bytes.TrimSpace(o.Member("spec")),
	})
}

// inPlace reports whether an object is of the namespace that is read. Where any
// is, the first that is named is the one.
func (f *manifestFile) inPlace(o *manifest.Object) bool {
	switch {
	case o.Namespace == "" || o.Namespace == f.in.Namespace:
		return true
	case f.in.Namespace == "":
		f.in.Namespace = o.Namespace
		return true
	}
	return false
}

// where names the place of an object in words: "line 3", "a.yaml:3".
func where(o *manifest.Object) string {
	if o.Path == "" {
		return fmt.Sprintf("line %d", o.Line(""))
	}
	return fmt.Sprintf("%s:%d", o.Path, o.Line(""))
}

// notSet is the remark about an object without a namespace.
const notSet = "not set%s: judged as in %[2]s, so apply it with kubectl -n %[2]s"

// noNamespace reports objects that kubectl puts into whichever namespace it
// works in, one line for each file.
func (f *manifestFile) noNamespace() {
	if f.anywhere {
		return
	}
	more := map[string]int{}
	for _, o := range f.homeless {
		more[o.Path]++
	}
	for _, o := range f.homeless {
		n := more[o.Path] - 1
		if n < 0 {
			continue
		}
		more[o.Path] = 0
		others := ""
		if n > 0 {
			others = fmt.Sprintf(", nor for %d more in the file", n)
		}
		f.find(o, manifest.Note, manifest.IDNamespace, "metadata.namespace", notSet, others, f.in.Namespace)
	}
}

// secret adds a Secret if a peer's password may be in it.
func (f *manifestFile) secret(o *manifest.Object) {
	var kind string
	_ = json.Unmarshal(o.Member("type"), &kind) // of another type it is no password's
	wanted := f.refersTo(o.Name)
	if !f.inPlace(o) {
		if wanted {
			f.find(o, manifest.Note, manifest.IDNamespace, "metadata.namespace", "not read: Herald reads Secrets of namespace %s, this is of %s", f.in.Namespace, o.Namespace)
		}
		return
	}
	if !wanted && kind != PasswordSecretType {
		return
	}
	f.Findings = append(f.Findings, o.Mistakes...)
	if i := slices.IndexFunc(f.Secrets, func(s PasswordSecret) bool { return s.Name == o.Name }); i >= 0 {
		f.find(o, manifest.Error, manifest.IDDuplicate, "", "defined twice")
		return
	}
	s := PasswordSecret{Namespace: o.Namespace, Name: o.Name, Type: kind}
	if text, mistake, ok := o.Text("stringData", PasswordSecretKey); ok {
		f.addMistake(mistake)
		s.HasKey, s.Password = true, NewSecret(text)
	} else if text, mistake, ok := o.Text("data", PasswordSecretKey); ok {
		f.addMistake(mistake)
		b, err := base64.StdEncoding.DecodeString(text)
		s.HasKey, s.NotBase64, s.Password = err == nil, err != nil, NewSecret(string(b))
	}
	f.Secrets = append(f.Secrets, s)
}

func (f *manifestFile) addMistake(m *manifest.Finding) {
	if m != nil {
		f.Findings = append(f.Findings, *m)
	}
}

// refersTo reports whether a peer's password is in the Secret of a name.
func (f *manifestFile) refersTo(secret string) bool {
	return slices.ContainsFunc(f.Objects, func(o Object) bool { return slices.Contains(o.Secrets(), secret) })
}

// configMaps finds the ConfigMap that is in its place, else those that have such
// a document and are not.
func (f *manifestFile) configMaps(objects []*manifest.Object) {
	name := cmp.Or(f.in.ConfigMap, configMapName)
	var others []ConfigMap
	for _, o := range objects {
		if o.Kind != "ConfigMap" || o.APIVersion != "v1" {
			continue
		}
		c := ConfigMap{Object: o}
		switch {
		case o.Name == name && (o.Namespace == "" || f.in.Namespace == "" || o.Namespace == f.in.Namespace):
			f.Findings = append(f.Findings, o.Mistakes...)
			if o.Namespace == "" && !f.anywhere {
				f.find(o, manifest.Note, manifest.IDNamespace, "metadata.namespace", notSet, "", f.in.Namespace)
			}
			f.ConfigMaps = append(f.ConfigMaps, c)
		case c.likely():
			c.Aside = true
			others = append(others, c)
		}
	}
	if len(f.ConfigMaps) > 1 {
		second := f.ConfigMaps[1]
		f.find(second.Object, manifest.Error, manifest.IDDuplicate, "", "defined twice, first in %s", where(f.ConfigMaps[0].Object))
		f.ConfigMaps = f.ConfigMaps[:1]
	}
	severity := manifest.Note
	if len(f.ConfigMaps) == 0 {
		severity, f.ConfigMaps = manifest.Warning, others
	}
	for _, c := range others {
		f.find(c.Object, severity, manifest.IDConfigMap, "metadata", "Herald reads the ConfigMap %s, not %s; --config and --namespace name another",
			qualified(f.in.Namespace, name), qualified(c.Namespace, c.Name))
	}
}

// qualified returns "namespace/name", or the name where there is no namespace.
func qualified(namespace, name string) string { return strings.TrimPrefix(namespace+"/"+name, "/") }
