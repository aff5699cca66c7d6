// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forwardPort forwards a port of this machine's loopback address to one of a pod, until the
// context is canceled. It calls ready with the port of this machine. Local 0 is any port.
func forwardPort(ctx context.Context, api *rest.Config, namespace, pod string, local, remote int, ready func(port int)) error {
	url, _, err := rest.DefaultServerUrlFor(api)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	url = url.JoinPath("api/v1/namespaces", namespace, "pods", pod, "portforward")
	transport, upgrader, err := spdy.RoundTripperFor(api)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	dialer := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	// API servers before 1.31, and some proxies, know SPDY alone.
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, api)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	dialer = portforward.NewFallbackDialerForStreaming(tunnel, dialer, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	started := make(chan struct{})
	var said strings.Builder
	f, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("%d:%d", local, remote)}, ctx.Done(), started, io.Discard, &said)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case err := <-done:
		return forwardError(err, pod, said.String())
	case <-started:
	}
	ports, err := f.GetPorts()
	if err != nil {
		return err
	}
	ready(int(ports[0].Local))
	err = <-done
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errEnded
	}
	return forwardError(err, pod, said.String())
}

var errEnded = errors.New("the connection has ended")

// forwardError adds to an error what the library has only printed.
func forwardError(err error, pod, said string) error {
	if err == nil {
		return nil
	}
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("forward a port to pod %s: %w: %s", pod, err, said)
	}
	return fmt.Errorf("forward a port to pod %s: %w", pod, err)
}
