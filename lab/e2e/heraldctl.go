// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"os/exec"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// Heraldctl runs a command line as the cluster's administrator, and returns its exit
// status and all that it printed.
func (e *Test) Heraldctl(args ...string) (code int, out string) {
	text, err := exec.Command("../../bin/heraldctl", append(args, "--kubeconfig="+e.Cluster.Kubeconfig(controlplane.Admin))...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, string(text)
	case errors.As(err, &exit):
		return exit.ExitCode(), string(text)
	}
	return -1, err.Error()
}

// AgentPods makes the agents pods of the cluster until the test ends, which the API server
// can ask.
func (e *Test) AgentPods() {
	e.T.Helper()
	pods := e.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace)
	for _, n := range e.Nodes {
		pod, err := pods.Get(e.T.Context(), lab.AgentPod(n), metav1.GetOptions{})
		if err != nil {
			e.T.Fatal(err)
		}
		before := pod.Status
		pod.Status = running(n)
		if _, err := pods.UpdateStatus(e.T.Context(), pod, metav1.UpdateOptions{}); err != nil {
			e.T.Fatal(err)
		}
		e.T.Cleanup(func() {
			pod, err := pods.Get(context.Background(), lab.AgentPod(n), metav1.GetOptions{})
			if err == nil {
				pod.Status = before
				_, err = pods.UpdateStatus(context.Background(), pod, metav1.UpdateOptions{})
			}
			if err != nil {
				e.T.Error(err)
			}
		})
	}
}

// running is the status of a pod that runs in a node's network.
func running(n *lab.Node) corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: n.Management.String(), PodIPs: []corev1.PodIP{{IP: n.Management.String()}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
}

// ControllerPod makes a controller a pod of the cluster until the test ends.
func (e *Test) ControllerPod() {
	e.T.Helper()
	e.pod("controller", e.Nodes[0])
}

// pod makes a pod of Herald that runs on a node.
func (e *Test) pod(component string, n *lab.Node) {
	e.T.Helper()
	pods := e.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace)
	pod, err := pods.Create(e.T.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: component + "-" + n.Name, Labels: map[string]string{"app.kubernetes.io/name": "herald", "app.kubernetes.io/component": component}},
		Spec: corev1.PodSpec{
			NodeName: n.Name, HostNetwork: true, ServiceAccountName: "herald-" + component,
			Containers: []corev1.Container{{Name: component, Image: "herald-" + component}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() {
		if err := pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			e.T.Error(err)
		}
	})
	pod.Status = running(n)
	if _, err := pods.UpdateStatus(e.T.Context(), pod, metav1.UpdateOptions{}); err != nil {
		e.T.Fatal(err)
	}
}
