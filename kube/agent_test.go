// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

func TestAgents(t *testing.T) {
	t.Parallel()
	pod := func(name, node string, phase corev1.PodPhase, port int32) corev1.Pod {
		p := corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{}}},
			Status:     corev1.PodStatus{Phase: phase},
		}
		if port > 0 {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Ports: []corev1.ContainerPort{{Name: "gossip", ContainerPort: 1}, {Name: "metrics", ContainerPort: port}}})
		}
		return p
	}
	going := pod("old", "n1", corev1.PodRunning, 9000)
	going.DeletionTimestamp = new(metav1.Now())
	list := corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
		Items: []corev1.Pod{
			pod("b", "n2", corev1.PodRunning, 0), pod("dead", "n1", corev1.PodFailed, 9000), going, pod("a", "n1", corev1.PodRunning, 9000),
		},
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v1/namespaces/ours/pods":
			if got := r.URL.Query().Get("labelSelector"); got != "app.kubernetes.io/component=agent" {
				t.Errorf("the selector is %q", got)
			}
			json.NewEncoder(w).Encode(list)
		case "/api/v1/namespaces/ours/pods/a:9000/proxy/status":
			json.NewEncoder(w).Encode(status.Report{Identity: status.Identity{Node: "n1"}, Passes: 7})
		default:
			http.Error(w, "no "+r.URL.Path, http.StatusServiceUnavailable)
		}
	}))
	defer api.Close()
	c, err := kube.NewClient(&rest.Config{Host: api.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := c.Agents(t.Context(), "ours")
	if err != nil || len(agents) != 2 || agents[0].Node != "n1" || agents[1].Node != "n2" {
		t.Fatalf("%v: agents are %+v, want those of n1 and n2", err, agents)
	}
	pulling := pod("b", "n2", corev1.PodPending, 0)
	pulling.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init"}}
	pulling.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "frr", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}}}
	unscheduled := pod("c", "", corev1.PodPending, 0)
	unscheduled.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no port"}}
	list.Items = append(list.Items, pulling, unscheduled)
	// The kubelet leaves a pod in phase Running whose container crashes, and whose node is off.
	crashing, off := pod("d", "n4", corev1.PodRunning, 0), pod("e", "n5", corev1.PodRunning, 0)
	fine := pod("f", "n6", corev1.PodRunning, 0)
	for _, p := range []*corev1.Pod{&crashing, &off, &fine} {
		p.Labels = map[string]string{"app.kubernetes.io/component": "agent"}
		p.Spec.Containers = []corev1.Container{{Name: "frr"}, {Name: "agent"}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "frr", Ready: true}, {Name: "agent", Ready: true}}
	}
	crashing.Status.ContainerStatuses[1] = corev1.ContainerStatus{Name: "agent", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 5m"}}}
	fine.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "frr", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}
	list.Items = append(list.Items, crashing, off, fine)
	absent, err := c.AbsentAgents(t.Context(), "ours")
	if want := "n1: Failed; n1: Terminating; n2: ErrImagePull of container frr: not found; n4: CrashLoopBackOff of container agent: back-off 5m; n5: the kubelet of its node does not report: the node is off, or cut off; no node: Unschedulable: no port"; err != nil || strings.Join(absent, "; ") != want {
		t.Errorf("agents that do not run are %q, %v, want %q", absent, err, want)
	}
	if _, err := c.AbsentAgents(t.Context(), "theirs"); err == nil || !strings.HasPrefix(err.Error(), "agents in theirs: ") {
		t.Errorf("pods that cannot be read: %v", err)
	}
	if r, err := c.Report(t.Context(), agents[0]); err != nil || r.Node != "n1" || r.Passes != 7 {
		t.Errorf("%v: the report of n1 is %+v", err, r)
	}
	if _, err := c.Report(t.Context(), agents[1]); err == nil || !strings.HasPrefix(err.Error(), "agent of n2: ") {
		t.Errorf("an agent that does not answer: %v", err)
	}
	if _, err := c.Agents(t.Context(), "theirs"); err == nil || !strings.HasPrefix(err.Error(), "agents in theirs: ") {
		t.Errorf("pods that cannot be read: %v", err)
	}
}
