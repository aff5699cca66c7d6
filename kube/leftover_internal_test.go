// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An agent that crashes, and one on a node without power, are in phase Running and do not run.
func TestAgentPodOf(t *testing.T) {
	pod := func(ready bool, container corev1.ContainerStatus) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent-n1"}, Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "agent"}}}}
		condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
		if ready {
			condition.Status = corev1.ConditionTrue
		}
		container.Name = "agent"
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{condition}, ContainerStatuses: []corev1.ContainerStatus{container}}
		newLeftovers(&Announcements{}).agents.strip(p)
		return p
	}
	up := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for _, c := range []struct {
		name    string
		pod     *corev1.Pod
		absence string
		unready bool
	}{
		{"ready", pod(true, corev1.ContainerStatus{Ready: true, State: up}), "", false},
		{"starts", pod(false, corev1.ContainerStatus{State: up}), "", true},
		{"crashes", pod(false, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}), "CrashLoopBackOff", true},
		{"without power", pod(false, corev1.ContainerStatus{Ready: true, State: up}), "the node is off", true},
	} {
		got := agentPodOf(c.pod)
		if !strings.Contains(got.absence, c.absence) || (got.absence == "") != (c.absence == "") || got.down != c.unready || c.unready && got.unready == "" && got.absence == "" {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
