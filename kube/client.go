// SPDX-License-Identifier: Apache-2.0

// Package kube is Herald's view of the API server: what it reads there, and
// what it writes back.
package kube

import (
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// NewConfig returns how to reach the API server: as the kubeconfig file says, or
// as a pod in the cluster where kubeconfig is empty. The agent's name is what
// the API server's audit log calls this program.
func NewConfig(kubeconfig, agent string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	c.UserAgent = agent
	// A burst of Services must not wait here. The API server's own fairness
	// protects it.
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c, nil
}

// NewClient returns a client for what NewConfig made. Its requests end after the
// timeout, those that watch too; zero is never.
func NewClient(c *rest.Config, timeout time.Duration) (kubernetes.Interface, error) {
	c = rest.CopyConfig(c)
	c.Timeout = timeout
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	return k, nil
}

// LogTo sends what the Kubernetes client library logs to a logger, for the whole
// program.
func LogTo(l *slog.Logger) { klog.SetSlogLogger(l) }
