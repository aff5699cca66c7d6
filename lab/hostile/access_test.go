// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// account is the service account of agents.
const account = "herald-agent"

// A kind is one of which agents write objects.
type kind struct{ plural, kind string }

var (
	states      = kind{"configurationstates", "ConfigurationState"}
	layer2      = kind{"servicel2statuses", "ServiceL2Status"}
	bgpStatuses = kind{"servicebgpstatuses", "ServiceBGPStatus"}
)

// A captive is an agent whose token an attacker has.
type captive struct{ dynamic.Interface }

// capture makes the pod of an agent, and returns what somebody can do who has its token.
func capture(e *e2e.Resources, node string) captive {
	e.T.Helper()
	client := e.Cluster.Client().CoreV1()
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if _, err := client.Nodes().Create(e.T.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() { _ = client.Nodes().Delete(context.Background(), node, now) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "captive-" + node},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: account, Containers: []corev1.Container{{Name: "agent", Image: "agent"}}},
	}
	if _, err := client.Pods(lab.HeraldNamespace).Create(e.T.Context(), pod, metav1.CreateOptions{}); err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() { _ = client.Pods(lab.HeraldNamespace).Delete(context.Background(), pod.Name, now) })
	token, err := e.Cluster.PodToken(e.T.Context(), lab.HeraldNamespace, account, pod.Name)
	if err != nil {
		e.T.Fatal(err)
	}
	return bearer(e, token)
}

// bearer returns what somebody can do who has a token.
func bearer(e *e2e.Resources, token string) captive {
	e.T.Helper()
	config := rest.CopyConfig(e.Cluster.RESTConfig(controlplane.Admin))
	config.BearerToken = token
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		e.T.Fatal(err)
	}
	return captive{client}
}

func (c captive) of(k kind) dynamic.ResourceInterface {
	group := schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: k.plural}
	return c.Resource(group).Namespace(lab.HeraldNamespace)
}

// create makes an object, which says of which node it is if that is not empty.
func (c captive) create(ctx context.Context, k kind, name, node string) error {
	return c.make(ctx, k, name, node, nil)
}

// make makes an object that has a status, too.
func (c captive) make(ctx context.Context, k kind, name, node string, status map[string]any) error {
	o := &unstructured.Unstructured{}
	if status != nil {
		o.Object = map[string]any{"status": status}
	}
	o.SetAPIVersion("metallb.io/v1beta1")
	o.SetKind(k.kind)
	o.SetName(name)
	if node != "" {
		o.SetLabels(map[string]string{"metallb.io/node": node})
	}
	_, err := c.of(k).Create(ctx, o, metav1.CreateOptions{})
	return err
}

// patch changes an object, or one of its subresources.
func (c captive) patch(ctx context.Context, k kind, name, text string, subresource ...string) error {
	_, err := c.of(k).Patch(ctx, name, types.MergePatchType, []byte(text), metav1.PatchOptions{}, subresource...)
	return err
}

func (c captive) delete(ctx context.Context, k kind, name string) error {
	return c.of(k).Delete(ctx, name, metav1.DeleteOptions{})
}

// refused wants the policy to refuse a request, in words that say why.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "herald-agent-statuses") {
		t.Errorf("%s: %v, want it refused by the policy", what, err)
	}
}

// Who has the token of an agent can write the statuses of that agent's node, and of no
// other: neither make, change or delete them, nor let its own be another node's.
func TestStatusesOfOthers(t *testing.T) {
	e := e2e.NewControl(t)
	ctx := t.Context()
	// With a long name the label is not the name.
	long := strings.Repeat("n", 42) + strings.Repeat("-rack-7", 4)
	mine, other, far := capture(e, "mine"), capture(e, "other"), capture(e, long)
	t.Cleanup(func() {
		admin := bearer(e, adminToken(e))
		for _, k := range []kind{states, layer2, bgpStatuses} {
			for _, name := range []string{"speaker-mine", "speaker-other", "l2-mine", "l2-other", "bgp-mine", "bgp-other", "bgp-far"} {
				_ = admin.delete(context.Background(), k, name)
			}
		}
	})

	own := func(c captive, node string) error {
		status := fmt.Sprintf(`{"status": {"node": %q, "serviceName": "web", "serviceNamespace": "shop"}}`, node)
		return errors.Join(
			c.create(ctx, states, "speaker-"+node, ""), c.patch(ctx, states, "speaker-"+node, `{"status": {}}`, "status"),
			c.create(ctx, layer2, "l2-"+node, node), c.patch(ctx, layer2, "l2-"+node, status),
			c.create(ctx, bgpStatuses, "bgp-"+node, node), c.patch(ctx, bgpStatuses, "bgp-"+node, status),
		)
	}
	// The API server enforces a policy a moment after it is made, and refuses nothing before.
	e.Eventually("the policy is in force", func(context.Context) error {
		err := mine.create(ctx, states, "speaker-probe", "")
		if err == nil {
			err = errors.Join(errors.New("an agent has written the state of another node"), bearer(e, adminToken(e)).delete(ctx, states, "speaker-probe"))
		} else if apierrors.IsForbidden(err) {
			err = nil
		}
		return err
	})
	if err := errors.Join(own(other, "other"), own(mine, "mine")); err != nil {
		t.Fatalf("an agent writes what is its own: %v", err)
	}
	label := strings.Repeat("n", 42) + "-" + strings.Repeat("d", 20)
	if err := errors.Join(far.create(ctx, bgpStatuses, "bgp-far", label), far.patch(ctx, bgpStatuses, "bgp-far", `{"status": {"node": "`+long+`"}}`)); err != nil {
		t.Errorf("an agent of a node with a long name writes what is its own: %v", err)
	}

	refused(t, "make a state", mine.create(ctx, states, "speaker-third", ""))
	refused(t, "make the controller's state", mine.create(ctx, states, "controller2", ""))
	refused(t, "change a state", mine.patch(ctx, states, "speaker-other", `{"status": {"errorSummary": "forged"}}`, "status"))
	for _, k := range []kind{layer2, bgpStatuses} {
		name := strings.TrimSuffix(strings.TrimPrefix(k.plural, "service"), "statuses") + "-"
		refused(t, "make one of another node", mine.create(ctx, k, name+"new", "other"))
		refused(t, "make one of no node", mine.create(ctx, k, name+"new", ""))
		refused(t, "change one", mine.patch(ctx, k, name+"other", `{"metadata": {"labels": {"a": "b"}}}`))
		refused(t, "take one", mine.patch(ctx, k, name+"other", `{"metadata": {"labels": {"metallb.io/node": "mine"}}}`))
		refused(t, "give one away", mine.patch(ctx, k, name+"mine", `{"metadata": {"labels": {"metallb.io/node": "other"}}}`))
		refused(t, "change the status of one", mine.patch(ctx, k, name+"other", `{"status": {"interfaces": []}}`))
		refused(t, "make one that says that it is another node's", mine.make(ctx, k, name+"new", "mine", map[string]any{"node": "other"}))
	}
	if err := mine.create(ctx, bgpStatuses, "bgp-forged", "mine"); err != nil {
		t.Fatal(err)
	}
	refused(t, "say that one is another node's", mine.patch(ctx, bgpStatuses, "bgp-forged", `{"status": {"node": "other"}}`))
	refused(t, "delete one", mine.delete(ctx, bgpStatuses, "bgp-other"))
	refused(t, "delete one", mine.delete(ctx, layer2, "l2-other"))
	refused(t, "write with a token that names no node", bearer(e, unbound(e)).create(ctx, layer2, "l2-new", "mine"))

	if err := errors.Join(mine.delete(ctx, layer2, "l2-mine"), mine.delete(ctx, bgpStatuses, "bgp-mine"), mine.delete(ctx, bgpStatuses, "bgp-forged")); err != nil {
		t.Error(err)
	}
}

func adminToken(e *e2e.Resources) string {
	token, _ := e.Cluster.Credentials(controlplane.Admin)
	return token
}

// unbound is the token of the account of agents that no pod has.
func unbound(e *e2e.Resources) string {
	token, _ := e.Cluster.Credentials(controlplane.Agent)
	return token
}
