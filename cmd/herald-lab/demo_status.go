// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// shownLines is how many lines of heraldctl's output the demo shows.
const shownLines = 14

// pods writes about Herald's processes what kubelets would: their pods run, and where they are
// reached. Heraldctl asks the agents there.
func (d *demo) pods(ctx context.Context) error {
	pods := d.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace)
	controller := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "controller-0", Labels: map[string]string{"app.kubernetes.io/name": "herald", "app.kubernetes.io/component": "controller"}},
		Spec: corev1.PodSpec{
			NodeName: d.Nodes[0].Name, HostNetwork: true, ServiceAccountName: "herald-controller",
			Containers: []corev1.Container{{Name: "controller", Image: "herald-controller"}},
		},
	}
	if _, err := pods.Create(ctx, controller, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the controller's pod: %w", err)
	}
	ready := fmt.Appendf(nil, `{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}`)
	if _, err := pods.Patch(ctx, controller.Name, types.StrategicMergePatchType, ready, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("status of the controller's pod: %w", err)
	}
	for _, n := range d.Nodes {
		patch := fmt.Appendf(nil, `{"status": {"phase": "Running", "podIP": %q, "podIPs": [{"ip": %q}]}}`, n.Management, n.Management)
		if _, err := pods.Patch(ctx, "herald-agent-"+n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			return fmt.Errorf("status of the agent's pod on %s: %w", n.Name, err)
		}
	}
	return nil
}

// asks shows the first lines of what heraldctl says, once it exits with a status and says
// some words.
func (d *demo) asks(ctx context.Context, status int, words string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for {
		all := append(args, "--kubeconfig="+d.Cluster.Kubeconfig(controlplane.Admin))
		out, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "heraldctl"), all...).CombinedOutput()
		code := 0
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			return err
		}
		// The flag is the lab's, and not what a user would type.
		text := strings.ReplaceAll(string(out), " "+all[len(all)-1], "")
		if code == status && strings.Contains(text, words) {
			lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
			d.show("$ heraldctl " + strings.Join(args, " ") + "; echo $?")
			for _, line := range lines[:min(len(lines), shownLines)] {
				d.show(line)
			}
			if more := len(lines) - shownLines; more > 0 {
				d.show(fmt.Sprintf("… %d more lines", more))
			}
			d.show(fmt.Sprint(code))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("heraldctl %s exits with %d, want %d and %q:\n%s", strings.Join(args, " "), code, status, words, text)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// diagnose shows what heraldctl says while a node is cut off.
func (d *demo) diagnose(ctx context.Context, owner string) error {
	d.say("What heraldctl says meanwhile:")
	service := homeService.Namespace + "/" + homeService.Name
	if err := d.asks(ctx, 1, owner, "status"); err != nil {
		return err
	}
	return d.asks(ctx, 1, owner, "why", service)
}
