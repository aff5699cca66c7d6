// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// A componentState is a ConfigurationState.
type componentState struct {
	uid        types.UID
	labels     map[string]string
	Result     string
	Source     string
	Summary    string `json:"errorSummary"`
	Conditions []metav1.Condition
}

func componentStateOf(r *e2e.Resources, ctx context.Context, name string) (s componentState, err error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(e2e.KindOf("ConfigurationState"))
	if o, err = r.Of(o).Get(ctx, name, metav1.GetOptions{}); err != nil {
		return s, err
	}
	b, err := json.Marshal(o.Object["status"])
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	s.uid, s.labels = o.GetUID(), o.GetLabels()
	return s, err
}

// check returns how the state of a component differs from what it should be: valid
// if there is nothing to say, else each of these is a line of the summary, in order.
func (s componentState) check(component string, say []string) error {
	kind, condition := "controller", "poolReconcilerValid"
	node, isSpeaker := strings.CutPrefix(component, "speaker-")
	if isSpeaker {
		kind, condition = "speaker", "configReconcilerValid"
	}
	if s.labels["metallb.io/component-type"] != kind || isSpeaker && s.labels["metallb.io/node-name"] != node {
		return fmt.Errorf("it has the labels %v", s.labels)
	}
	result, status, reason := "Valid", metav1.ConditionTrue, "Reconciled"
	if len(say) > 0 {
		result, status, reason = "Invalid", metav1.ConditionFalse, "ConfigurationError"
	}
	if s.Result != result {
		return fmt.Errorf("the result is %s, %q", s.Result, s.Summary)
	}
	var lines []string
	if s.Summary != "" {
		lines = strings.Split(s.Summary, "\n")
	}
	if !slices.EqualFunc(lines, say, strings.Contains) {
		return fmt.Errorf("the summary is %q, want %q", lines, say)
	}
	i := slices.IndexFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == condition })
	if i < 0 {
		return fmt.Errorf("the conditions are %v", s.Conditions)
	}
	if c := s.Conditions[i]; c.Status != status || c.Reason != reason || c.Message != s.Summary || c.LastTransitionTime.IsZero() {
		return fmt.Errorf("the condition is %+v", c)
	}
	return nil
}

// say waits until the ConfigurationStates are these, by component; those not named
// are valid. Those that have one of the UIDs in old do not count.
func say(r *e2e.Resources, want map[string][]string, old ...types.UID) (uids []types.UID) {
	r.T.Helper()
	components := []string{"controller"}
	for _, n := range r.Nodes {
		components = append(components, "speaker-"+n.Name)
	}
	r.Eventually("configuration states", func(ctx context.Context) error {
		uids = uids[:0]
		for _, name := range components {
			s, err := componentStateOf(r, ctx, name)
			if err == nil {
				err = s.check(name, want[name])
			}
			if err == nil && slices.Contains(old, s.uid) {
				err = fmt.Errorf("it is the one that was deleted")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			uids = append(uids, s.uid)
		}
		return nil
	})
	return uids
}

// The ConfigurationStates have MetalLB's fields, and say on which node what is
// wrong, all of it, for as long as it is so, even if somebody deletes them.
//
// Acceptance: C004-C006, C008, C009.
func TestResourcesComponentStates(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	ctx := t.Context()
	everywhere := func(say ...string) map[string][]string {
		return map[string][]string{"speaker-n1": say, "speaker-n2": say, "speaker-n3": say}
	}
	r.Apply("{apiVersion: v1, kind: Secret, metadata: {name: tor}, type: kubernetes.io/basic-auth, stringData: {password: secret, username: herald}}")
	t.Cleanup(func() {
		err := r.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace).Delete(context.Background(), "tor", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	r.Apply(newPeer("tor", "10.10.0.77", ", passwordSecret: {name: tor}") + "\n---\n" +
		"{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [10.245.0.0/24]}}")
	say(r, nil)

	// A community that nobody has given a name.
	const ad = "{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {ipAddressPools: [p], communities: [mine]}}"
	r.Apply(ad)
	say(r, everywhere("invalid community format: mine"))
	r.Apply(`{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: names}, spec: {communities: [{name: mine, value: "64512:7"}]}}`)
	say(r, nil)

	// Two peers, each wrong by itself.
	r.Apply(newPeer("a", "10.10.0.78", ", bfdProfile: first") + "\n---\n" + newPeer("b", "10.10.0.79", ", bfdProfile: second"))
	const first, second = "peer a referencing non existing bfd profile first", "peer b referencing non existing bfd profile second"
	say(r, everywhere(first, second))
	r.Delete(config.KindPeer, "a")
	say(r, everywhere(second))
	r.Delete(config.KindPeer, "b")
	uids := say(r, nil)

	// Wrong on one node alone, and deleted while it is so.
	wrong := map[string][]string{"speaker-n2": {"peer c referencing non existing bfd profile third"}}
	r.Apply(newPeer("c", "10.10.0.80", ", bfdProfile: third, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"))
	say(r, wrong)
	states := r.Dynamic.Resource(e2e.KindOf("ConfigurationState").GroupVersion().WithResource(e2e.Plurals["ConfigurationState"])).Namespace(lab.HeraldNamespace)
	for _, step := range []struct {
		change func()
		say    map[string][]string
	}{
		{func() {}, wrong},
		{func() {
			r.Apply("{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: third}, spec: {receiveInterval: 1000}}")
		}, nil},
	} {
		step.change()
		say(r, step.say)
		if err := states.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		uids = say(r, step.say, uids...)
	}
}
