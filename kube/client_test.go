// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"bytes"
	"log/slog"
	"testing"

	"k8s.io/klog/v2"

	"github.com/heraldlb/herald/kube"
)

// Outside of a cluster there is one error, and no advice of the library's.
func TestNewConfigOutside(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	var logged bytes.Buffer
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(klog.ClearLogger)
	_, err := kube.NewConfig("", "test")
	if want := "API server: this is no pod of a cluster; name a kubeconfig file with --kubeconfig"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}
