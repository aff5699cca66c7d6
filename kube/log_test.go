// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"errors"
	"log/slog"
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
