// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/kube"
)

func TestLogTo(t *testing.T) {
	t.Cleanup(klog.ClearLogger)
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		kube.LogTo(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})))
		down := errors.New("down")
		for range 90 { // seconds
			klog.Background().Error(down, "no lease")
			klog.Background().WithValues("kind", "Service").Error(down, "no watch")
			time.Sleep(time.Second)
		}
		klog.Background().Info("tried")
		klog.Background().Info("tried")
		want := []string{
			`level=WARN msg="no lease" err=down`,
			`level=WARN msg="no watch" kind=Service err=down`,
			`level=WARN msg="no lease" err=down`,
			`level=WARN msg="no watch" kind=Service err=down`,
			`level=INFO msg=tried`,
			`level=INFO msg=tried`,
		}
		if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// Who starts a program without a kubeconfig is told of Herald's flags, and of none of the
// client library's.
func TestConfigWithoutAdvice(t *testing.T) {
	var out strings.Builder
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(klog.ClearLogger)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("HOME", t.TempDir())
	for name, f := range map[string]func() error{
		"a daemon": func() error { _, err := kube.NewConfig("", "test"); return err },
	} {
		err := f()
		if err == nil || !strings.Contains(err.Error(), "--kubeconfig") || strings.Contains(err.Error(), "master") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out.Len() > 0 {
		t.Errorf("the client library says:\n%s", out.String())
	}
}
