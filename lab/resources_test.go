// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/lab"
)

// plurals of MetalLB's kinds.
var plurals = map[string]string{
	config.KindPool: "ipaddresspools", config.KindBFDProfile: "bfdprofiles", config.KindCommunity: "communities",
	config.KindPeer: "bgppeers", config.KindBGPAdvertisement: "bgpadvertisements", config.KindL2Advertisement: "l2advertisements",
	"ConfigurationState": "configurationstates", "ServiceL2Status": "servicel2statuses", "ServiceBGPStatus": "servicebgpstatuses",
	"Secret": "secrets",
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// A resourceTest is an e2e whose configuration is in MetalLB's resources.
type resourceTest struct {
	*e2e
	dynamic dynamic.Interface
}

// newResourceTest returns an e2e with MetalLB's kinds installed, no object of
// them, and no ConfigMap.
func newResourceTest(t *testing.T) *resourceTest {
	t.Helper()
	r := newE2E(t).resources()
	r.clear(t.Context())
	t.Cleanup(func() { r.clear(context.Background()) })
	return r
}

// resources returns the test with MetalLB's kinds installed.
func (e *e2e) resources() *resourceTest {
	e.t.Helper()
	client, err := dynamic.NewForConfig(e.Cluster.RESTConfig(lab.Admin))
	if err != nil {
		e.t.Fatal(err)
	}
	r := &resourceTest{e2e: e, dynamic: client}
	r.installCRDs()
	return r
}

// deleteConfigMap makes the resources count.
func (r *resourceTest) deleteConfigMap() { r.dropConfigMap(lab.HeraldConfigMap) }

// dropConfigMap deletes a ConfigMap of Herald's, if it is there.
func (e *e2e) dropConfigMap(name string) {
	e.t.Helper()
	err := e.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Delete(e.t.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		e.t.Fatal(err)
	}
}

// installCRDs puts the definitions in the place of whatever has their names, as
// kubectl replace does, or creates them.
func (r *resourceTest) installCRDs() {
	r.t.Helper()
	names, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		r.replaceCRD(string(text))
	}
}

func (r *resourceTest) replaceCRD(manifest string) {
	r.t.Helper()
	ctx := r.t.Context()
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		r.t.Fatal(err)
	}
	client := r.dynamic.Resource(crdResource)
	have, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, o, metav1.CreateOptions{FieldValidation: "Strict"})
	} else if err == nil {
		o.SetResourceVersion(have.GetResourceVersion())
		_, err = client.Update(ctx, o, metav1.UpdateOptions{FieldValidation: "Strict"})
	}
	if err != nil {
		r.t.Fatalf("%s: %v", o.GetName(), err)
	}
	r.eventually(o.GetName()+" is served", func(ctx context.Context) error {
		have, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(have.Object, "status", "conditions")
		for _, c := range conditions {
			c := c.(map[string]any)
			if c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("not established: %v", conditions)
	})
}

// of returns the client for an object.
func (r *resourceTest) of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	return r.dynamic.Resource(gvk.GroupVersion().WithResource(plurals[gvk.Kind])).Namespace(lab.HeraldNamespace)
}

// clear deletes every object of MetalLB's kinds.
func (r *resourceTest) clear(ctx context.Context) {
	for _, kind := range config.ResourceKinds {
		r.deleteAll(ctx, kind)
	}
}

// deleteAll deletes all resources of a kind.
func (r *resourceTest) deleteAll(ctx context.Context, kind string) {
	version := "v1beta1"
	if kind == config.KindPeer {
		version = "v1beta2"
	}
	gvr := schema.GroupVersionResource{Group: config.ResourceGroup, Version: version, Resource: plurals[kind]}
	err := r.dynamic.Resource(gvr).Namespace(lab.HeraldNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		r.t.Errorf("delete all of %s: %v", kind, err)
	}
}

// objects reads manifests.
func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.IsList() {
			list, err := o.ToList()
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				out = append(out, &list.Items[i])
			}
			continue
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// apply makes objects be as manifests say, however they were.
func (r *resourceTest) apply(manifests string) {
	r.t.Helper()
	for _, o := range objects(r.t, manifests) {
		o.SetNamespace(lab.HeraldNamespace)
		if err := r.put(r.t.Context(), o); err != nil {
			r.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (r *resourceTest) put(ctx context.Context, o *unstructured.Unstructured) error {
	have, err := r.of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = r.of(o).Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	o.SetResourceVersion(have.GetResourceVersion())
	_, err = r.of(o).Update(ctx, o, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return r.put(ctx, o) // its status was written meanwhile
	}
	return err
}

func (r *resourceTest) delete(kind, name string) {
	r.t.Helper()
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(kind))
	if err := r.of(o).Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func kindOf(kind string) schema.GroupVersionKind {
	switch kind {
	case "Secret":
		return schema.GroupVersionKind{Version: "v1", Kind: kind}
	case config.KindPeer:
		return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta2", Kind: kind}
	}
	return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta1", Kind: kind}
}

// A resourceState is what Herald says of an object.
type resourceState struct {
	Status        string // of the condition Accepted
	Reason        string
	Message       string
	Result        string // of a ConfigurationState
	Summary       string
	AssignedIPv4  int64
	AvailableIPv4 int64
	InForce       string
	Programmed    string // of the condition Programmed, its status and reason
	Where         string // and its message
	Resolved      string // of the condition ResolvedRefs, its status, reason and message
}

// state returns what Herald says of the newest version of an object.
func (r *resourceTest) state(ctx context.Context, kind, name string) (resourceState, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(kind))
	o, err := r.of(o).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return resourceState{}, err
	}
	var parsed struct {
		Status struct {
			Conditions    []metav1.Condition
			Result        string
			ErrorSummary  string
			AssignedIPv4  int64
			AvailableIPv4 int64
			InForce       string
		}
	}
	b, err := json.Marshal(o.Object)
	if err == nil {
		err = json.Unmarshal(b, &parsed)
	}
	s := parsed.Status
	out := resourceState{Result: s.Result, Summary: s.ErrorSummary, AssignedIPv4: s.AssignedIPv4, AvailableIPv4: s.AvailableIPv4, InForce: s.InForce}
	for _, c := range s.Conditions {
		if c.Type == "Accepted" && c.ObservedGeneration == o.GetGeneration() {
			out.Status, out.Reason, out.Message = string(c.Status), c.Reason, c.Message
		}
		if c.Type == "Programmed" && c.ObservedGeneration == o.GetGeneration() {
			out.Programmed, out.Where = string(c.Status)+" "+c.Reason, c.Message
		}
		if c.Type == "ResolvedRefs" && c.ObservedGeneration == o.GetGeneration() {
			out.Resolved = strings.Join([]string{string(c.Status), c.Reason, c.Message}, " ")
		}
	}
	return out, err
}

// refused waits until Herald refuses the newest version of an object.
func (r *resourceTest) refused(kind, name, reason, message string) {
	r.t.Helper()
	r.eventually(kind+" "+name+" is refused", func(ctx context.Context) error {
		s, err := r.state(ctx, kind, name)
		if err != nil {
			return err
		}
		if s.Status != "False" || s.Reason != reason || !strings.Contains(s.Message, message) {
			return fmt.Errorf("the state is %+v, want %s with %q", s, reason, message)
		}
		return nil
	})
}

// accepted waits until Herald accepts the newest version of an object.
func (r *resourceTest) accepted(kind, name string) {
	r.t.Helper()
	r.eventually(kind+" "+name+" is accepted", func(ctx context.Context) error {
		s, err := r.state(ctx, kind, name)
		if err == nil && s.Status != "True" {
			err = fmt.Errorf("the state is %+v", s)
		}
		return err
	})
}

// result waits for what a ConfigurationState says; an empty summary is none.
func (r *resourceTest) result(name, result, summary string) {
	r.t.Helper()
	r.eventually("ConfigurationState "+name, func(ctx context.Context) error {
		s, err := r.state(ctx, "ConfigurationState", name)
		if err != nil {
			return err
		}
		if s.Result != result || !strings.Contains(s.Summary, summary) || summary == "" && s.Summary != "" {
			return fmt.Errorf("it says %s, %q; want %s, %q", s.Result, s.Summary, result, summary)
		}
		return nil
	})
}
