// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	api "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/manifest"
	"github.com/heraldlb/herald/schema"
)

// The definitions take the place of another installation's, whose objects stay.
func TestResourcesOverOthers(t *testing.T) {
	r := e2e.NewControl(t)
	r.ReplaceCRD(e2e.MetalLBCRD)
	r.Eventually("a peer is created", func(ctx context.Context) error {
		o := e2e.Objects(t, e2e.PeerResources)[0]
		o.SetNamespace(lab.HeraldNamespace)
		_, err := r.Of(o).Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	r.InstallCRDs()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		r.Eventually("the peer is read as "+version, func(ctx context.Context) error {
			gvr := api.GroupVersionResource{Group: config.ResourceGroup, Version: version, Resource: "bgppeers"}
			o, err := r.Dynamic.Resource(gvr).Namespace(lab.HeraldNamespace).Get(ctx, "r1", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if address, _, _ := unstructured.NestedString(o.Object, "spec", "peerAddress"); address != "10.10.0.254" {
				return fmt.Errorf("it has the address %q", address)
			}
			return nil
		})
	}
}

// readFromCluster reads the configuration as heraldctl --cluster does, which has
// an object of each kind, and finds nothing wrong with the objects as such.
func readFromCluster(r *e2e.Resources) {
	r.T.Helper()
	client, err := kube.NewClient(r.Cluster.RESTConfig(controlplane.Admin))
	if err != nil {
		r.T.Fatal(err)
	}
	lists, err := kube.ReadManifests(r.T.Context(), client, lab.HeraldNamespace)
	if err != nil {
		r.T.Fatal(err)
	}
	var all []*manifest.Object
	for _, list := range lists {
		objects, mistakes := manifest.Read("cluster", list)
		if len(mistakes) > 0 {
			r.T.Errorf("the cluster's objects: %v", mistakes)
		}
		all = append(all, objects...)
	}
	m := config.ReadManifests(all, config.Place{Namespace: lab.HeraldNamespace})
	for _, kind := range config.ResourceKinds {
		if m.Origins[config.ID{Kind: kind, Name: "there"}] == nil {
			r.T.Errorf("%s/there is not read from the cluster", kind)
		}
	}
	if err := manifest.ErrorsIn(m.Findings); err != nil {
		r.T.Errorf("the cluster's objects: %v", err)
	}
}

// The API server takes every object that config does, and says no to what an
// object can say wrongly by itself.
//
// Acceptance: W003, W004.
func TestResourcesSchema(t *testing.T) {
	r := e2e.NewControl(t)
	offline, err := schema.New()
	if err != nil {
		t.Fatal(err)
	}
	// What heraldctl applies without a cluster comes to what the API server does.
	dry := func(o *unstructured.Unstructured) error {
		o.SetNamespace(lab.HeraldNamespace)
		sent := new(unstructured.Unstructured) // as it goes over the wire: whole numbers are integers
		b, err := o.MarshalJSON()
		if err == nil {
			err = sent.UnmarshalJSON(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		problems, err := offline.Apply(t.Context(), sent.Object)
		if err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
		_, err = r.Of(o).Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
		if (err == nil) != (len(problems) == 0) {
			t.Errorf("%s %s %v: the API server says %v, the same definition without it %v", o.GetKind(), o.GetName(), o.Object["spec"], err, problems)
		}
		for _, p := range problems {
			if !strings.Contains(fmt.Sprint(err), p.Field) {
				t.Errorf("%s %s %v: the API server does not speak of %s: %v", o.GetKind(), o.GetName(), o.Object["spec"], p.Field, err)
			}
		}
		return err
	}
	files, err := filepath.Glob("../../testdata/resources/good/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	n := 0
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if !strings.HasSuffix(f.Name, ".yaml") {
				continue
			}
			for _, o := range e2e.Objects(t, string(f.Data)) {
				if !slices.Contains(config.ResourceKinds, o.GetKind()) {
					continue
				}
				n++
				if err := dry(o); err != nil {
					t.Errorf("%s: %s %s: %v", file, o.GetKind(), o.GetName(), err)
				}
			}
		}
	}
	t.Logf("%d objects of the corpus are accepted", n)
	for kind, spec := range map[string]string{
		config.KindPool: "{addresses: [10.0.0.0/24]}", config.KindBFDProfile: "{}", config.KindCommunity: "{}",
		config.KindPeer:             "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, enableGracefulRestart: false, nodeSelectors: [{matchLabels: {no: node}}]}",
		config.KindBGPAdvertisement: "{}", config.KindL2Advertisement: "{}",
	} {
		r.Apply(fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: there}, spec: %s}", e2e.KindOf(kind).GroupVersion(), kind, spec))
	}
	readFromCluster(r)
	update := func(o *unstructured.Unstructured) (err error) {
		o.SetName("there")
		r.Eventually("an answer", func(ctx context.Context) error {
			have, failed := r.Of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
			if failed != nil {
				return failed
			}
			o.SetResourceVersion(have.GetResourceVersion())
			_, err = r.Of(o).Update(ctx, o, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
			if apierrors.IsConflict(err) {
				return err // its status was written meanwhile
			}
			return nil
		})
		return err
	}
	for _, test := range []struct{ kind, spec, want string }{
		{config.KindPool, "{}", "spec.addresses: Required"},
		{config.KindPool, "{addresses: []}", "spec.addresses"},
		{config.KindPool, "{addresses: [lan]}", "spec.addresses[0]"},
		{config.KindPool, "{addresses: [10.0.0.0/24], autoasign: true}", "unknown field"},
		{config.KindBGPAdvertisement, "{aggregationLength: 0}", "spec.aggregationLength"},
		{config.KindBGPAdvertisement, "{aggregationLength: 33}", "spec.aggregationLength"},
		{config.KindBGPAdvertisement, "{aggregationLengthV6: 129}", "spec.aggregationLengthV6"},
		{config.KindBGPAdvertisement, "{localPref: -1}", "spec.localPref"},
		{config.KindBGPAdvertisement, "{aggregationLength: 24, serviceSelectors: [{matchLabels: {a: b}}]}", "mutually exclusive"},
		{config.KindBGPAdvertisement, "{aggregationLengthV6: 64, serviceSelectors: [{matchLabels: {a: b}}]}", "mutually exclusive"},
		{config.KindBGPAdvertisement, "{asPathPrepend: 11}", "spec.asPathPrepend"},
		{config.KindBGPAdvertisement, "{probe: {periodSeconds: 0}}", "spec.probe.periodSeconds"},
		{config.KindL2Advertisement, "{probe: {whenAllFail: stop}}", "spec.probe.whenAllFail"},
		{config.KindBGPAdvertisement, "{probe: {timeoutSeconds: 6}}", "timeoutSeconds must not be above periodSeconds"},
		{config.KindL2Advertisement, "{probe: {periodSeconds: 1, timeoutSeconds: 2}}", "timeoutSeconds must not be above periodSeconds"},
		{config.KindBGPAdvertisement, "{med: 4294967296}", "spec.med"},
		{config.KindL2Advertisement, "{preferredNodeSelectors: [{weight: 101, preference: {}}]}", "weight"},
		{config.KindL2Advertisement, "{preferredNodeSelectors: [{weight: 1}]}", "preference"},
		{config.KindCommunity, `{communities: [{name: a, value: "65536"}]}`, "value"},
		{config.KindCommunity, `{communities: [{name: a, value: "large:1:2"}]}`, "value"},
		{config.KindBFDProfile, "{receiveInterval: 9}", "spec.receiveInterval"},
		{config.KindBFDProfile, "{detectMultiplier: 256}", "spec.detectMultiplier"},
		{config.KindBFDProfile, "{minimumTtl: 0}", "spec.minimumTtl"},
		{config.KindPeer, "{peerASN: 2, peerAddress: 10.0.0.1}", "spec.myASN"},
		{config.KindPeer, "{myASN: 4294967296, peerASN: 2, peerAddress: 10.0.0.1}", "spec.myASN"},
		{config.KindPeer, "{myASN: 1, peerAddress: 10.0.0.1}", "exactly one of peerASN and dynamicASN"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, dynamicASN: external, peerAddress: 10.0.0.1}", "exactly one of peerASN and dynamicASN"},
		{config.KindPeer, "{myASN: 1, dynamicASN: any, peerAddress: 10.0.0.1}", "spec.dynamicASN"},
		{config.KindPeer, "{myASN: 1, peerASN: 2}", "exactly one of peerAddress and interface"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, interface: eth0}", "exactly one of peerAddress and interface"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: router}", "invalid BGPPeer address"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, peerPort: 16385}", "spec.peerPort"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, localASN: 0}", "spec.localASN"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: 5}", "spec.password"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: [{matchLabel: {}}]}", "unknown field"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 2s}", "must be 0 or >=3s"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: '90'}", "spec.holdTime"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 9s, keepaliveTime: 10s}", "must be lower than holdTime"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 1500ms}", "whole number of seconds"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 65536s}", "connect time should be between"},
		{config.KindPeer, "{myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, ebgpMultiHop: true}", "invalid ebgp-multihop"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, ttlSecurity: 255}", "spec.ttlSecurity"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, ttlSecurity: 1, ebgpMultiHop: true}", "ttlSecurity together with ebgpMultiHop"},
		{config.KindPeer, "{myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, ttlSecurity: 1}", "ttlSecurity for an iBGP peer"},
		{config.KindPeer, "{myASN: 1, dynamicASN: internal, peerAddress: 10.0.0.1, ttlSecurity: 1}", "ttlSecurity for an iBGP peer"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, interface: eth1, ttlSecurity: 2}", "ttlSecurity for a peer with an interface"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: a, passwordSecret: {name: b}}", "both password and secret ref"},
	} {
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal([]byte("{metadata: {name: x}, spec: "+test.spec+"}"), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetGroupVersionKind(e2e.KindOf(test.kind))
		if err := dry(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("create %s %s: got %v, want %q", test.kind, test.spec, err, test.want)
		}
		if err := update(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("update %s %s: got %v, want %q", test.kind, test.spec, err, test.want)
		}
	}
	for _, metadata := range []string{
		"{name: Edge_Pool}", "{name: a, labels: {'a b': c}}", "{name: a, labels: {a: 'b c'}}", "{name: a, lables: {a: b}}", "{name: a, annotations: {'a b': c}}", "{}",
	} {
		o := e2e.Objects(t, "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: "+metadata+", spec: {addresses: [10.0.0.0/24]}, status: {assignedIPv4: 1}}")[0]
		if err := dry(o); err == nil {
			t.Errorf("metadata %s: the API server takes it", metadata)
		}
	}
	restart := e2e.Objects(t, "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, enableGracefulRestart: true}}")[0]
	if err := update(restart); err == nil || !strings.Contains(err.Error(), "EnableGracefulRestart cannot be changed after creation") {
		t.Errorf("graceful restart is changed after creation: %v", err)
	}
}
