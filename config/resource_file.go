// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"
)

// resourceVersions are the API versions that a kind is served in.
func resourceVersions(kind string) []string {
	if kind == KindPeer {
		return []string{ResourceGroup + "/v1beta2", ResourceGroup + "/v1beta1"}
	}
	return []string{ResourceGroup + "/v1beta1"}
}

// statusKinds are those that tell what happened.
var statusKinds = []string{"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"}

// A manifestObject is a manifest as far as a file of them is looked at.
type manifestObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Generation  int64             `json:"generation"`
	} `json:"metadata"`
	Spec       json.RawMessage            `json:"spec"`
	Items      []json.RawMessage          `json:"items"`
	Type       string                     `json:"type"`
	Data       map[string]string          `json:"data"`
	StringData map[string]string          `json:"stringData"`
	rest       map[string]json.RawMessage // all members
}

// ReadResources reads a file of manifests as kubectl takes it: MetalLB's custom
// resources, and Secrets that they refer to; other kinds are ignored. It
// reports whether there is any custom resource. Its error is about the file and
// what the API server would refuse; what the objects say is for Next to judge.
func ReadResources(text []byte) (r Resources, found bool, err error) {
	roots, mistake := readYAML(text)
	if mistake != nil {
		return Resources{}, false, mistake
	}
	f := &resourceFile{}
	for _, root := range roots {
		if !isManifest(root) {
			continue
		}
		if err := f.document(root); err != nil {
			return Resources{}, true, fmt.Errorf("line %d: %w", root.Line, err)
		}
	}
	if len(f.namespaces) > 1 {
		return Resources{}, true, fmt.Errorf("objects of the namespaces %s; Herald reads those of one", strings.Join(slices.Sorted(maps.Keys(f.namespaces)), ", "))
	}
	return f.Resources, len(f.Objects) > 0, nil
}

// A resourceFile is what was read of a file so far.
type resourceFile struct {
	Resources
	namespaces map[string]bool // of custom resources
}

// document reads a YAML document.
func (f *resourceFile) document(root *yaml.Node) error {
	text, err := yaml.Marshal(root)
	if err != nil {
		return err
	}
	b, err := kyaml.YAMLToJSONStrict(text)
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return f.read(b, "", "")
}

// read adds one object, or those of a list, whose items need not say what they
// are.
func (f *resourceFile) read(b []byte, apiVersion, kind string) error {
	var o manifestObject
	if err := json.Unmarshal(b, &o); err != nil {
		return nil // of some kind that is not Herald's business
	}
	if err := json.Unmarshal(b, &o.rest); err != nil {
		return err
	}
	if o.Kind == "" {
		o.APIVersion, o.Kind = apiVersion, kind
	}
	if item, ok := strings.CutSuffix(o.Kind, "List"); ok {
		for i, b := range o.Items {
			if err := f.read(b, o.APIVersion, item); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
		return nil
	}
	group, _, _ := strings.Cut(o.APIVersion, "/")
	switch {
	case o.APIVersion == "v1" && o.Kind == "Secret":
		f.secret(o)
		return nil
	case group != ResourceGroup || slices.Contains(statusKinds, o.Kind):
		return nil
	}
	if err := f.resource(o); err != nil {
		return fmt.Errorf("%s/%s: %w", o.Kind, o.Metadata.Name, err)
	}
	return nil
}

// members are those that an object may have at its root.
var members = []string{"apiVersion", "kind", "metadata", "spec", "status"}

func (f *resourceFile) resource(o manifestObject) error {
	if !slices.Contains(ResourceKinds, o.Kind) {
		return fmt.Errorf("there is no such kind, want one of %s", strings.Join(ResourceKinds, ", "))
	}
	if want := resourceVersions(o.Kind); !slices.Contains(want, o.APIVersion) {
		return fmt.Errorf("apiVersion is %s, want %s", quote(o.APIVersion), want[0])
	}
	if o.Metadata.Name == "" {
		return fmt.Errorf("metadata.name: missing")
	}
	for _, m := range slices.Sorted(maps.Keys(o.rest)) {
		if !slices.Contains(members, m) {
			return fmt.Errorf("unknown key %s, want one of %s", quote(m), strings.Join(members, ", "))
		}
	}
	id := ID{o.Kind, o.Metadata.Name}
	if slices.ContainsFunc(f.Objects, func(p Object) bool { return p.ID == id }) {
		return fmt.Errorf("defined twice")
	}
	if o.Metadata.Namespace != "" {
		if f.namespaces == nil {
			f.namespaces = map[string]bool{}
		}
		f.namespaces[o.Metadata.Namespace] = true
	}
	f.Objects = append(f.Objects, Object{
		ID: id, Generation: o.Metadata.Generation,
		Labels: o.Metadata.Labels, Annotations: PoolAnnotations(id.Kind, o.Metadata.Annotations),
		Spec: bytes.TrimSpace(o.Spec),
	})
	return nil
}

func (f *resourceFile) secret(o manifestObject) {
	s := PasswordSecret{Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, Type: o.Type}
	if text, ok := o.StringData[PasswordSecretKey]; ok {
		s.HasKey, s.Password = true, NewSecret(text)
	} else if text, ok := o.Data[PasswordSecretKey]; ok {
		b, err := base64.StdEncoding.DecodeString(text)
		s.HasKey, s.NotBase64, s.Password = err == nil, err != nil, NewSecret(string(b))
	}
	f.Secrets = append(f.Secrets, s)
}
