// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/kube"
)

func TestEnsureSecret(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	var failures atomic.Int64
	client.PrependReactor("create", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		if failures.Add(1) <= 2 {
			return true, nil, errors.New("not now")
		}
		return false, nil, nil
	})
	ensure := func() *corev1.Secret {
		t.Helper()
		kube.EnsureSecret(t.Context(), kube.SecretOptions{
			Client: newClient(t, client), Namespace: "metallb-system", Name: "memberlist",
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		s, err := client.CoreV1().Secrets("metallb-system").Get(t.Context(), "memberlist", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := ensure()
	if n := len(first.Data[kube.SecretKey]); n < 16 {
		t.Errorf("the secret has %d bytes", n)
	}
	if second := ensure(); string(second.Data[kube.SecretKey]) != string(first.Data[kube.SecretKey]) {
		t.Error("a second controller replaced the secret")
	}
}
