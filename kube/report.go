// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/status"
)

// readerAccount is the service account that may read metrics and status, if those need
// a token. The manifests make it.
const readerAccount = "herald-metrics-reader"

// readerHeader is where agents look for a token besides Authorization, which the API
// server removes.
const readerHeader = "Herald-Authorization"

// readerLife is how long a token of readerAccount is valid; it is the shortest time that
// API servers allow.
const readerLife = 10 * time.Minute

// A readerToken is a token of readerAccount in a namespace.
type readerToken struct {
	namespace, token string
	until            time.Time
}

// Report returns an agent's Report. The API server fetches it, so that the node need
// not be reachable from here.
func (c *Client) Report(ctx context.Context, a Agent) (status.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var r status.Report
	page, err := c.page(a, "status", "", "").DoRaw(ctx)
	if needsTLS(err) {
		page, err = c.secureStatusOf(ctx, a)
	}
	if err == nil {
		err = json.Unmarshal(page, &r)
	}
	if err != nil {
		return r, fmt.Errorf("agent of %s: %w", a.Node, err)
	}
	return r, nil
}

// secureStatusOf returns the status of an agent that needs TLS and a token.
func (c *Client) secureStatusOf(ctx context.Context, a Agent) ([]byte, error) {
	token, err := c.readerTokenOf(ctx, a)
	if err != nil {
		return nil, err
	}
	return c.page(a, "status", "https:", token).DoRaw(ctx)
}

// page returns the request for a page of a pod.
func (c *Client) page(a Agent, page, scheme, token string) *rest.Request {
	r := c.core.Get().Namespace(a.namespace).Resource("pods").Name(scheme + a.pod + ":" + strconv.Itoa(int(a.port))).
		SubResource("proxy").Suffix(page)
	if token != "" {
		r.SetHeader(readerHeader, "Bearer "+token)
	}
	return r
}

// readerTokenOf returns a token for the pages of a pod that needs one. The user's own token
// cannot be used: the API server passes none on, and some users have none.
func (c *Client) readerTokenOf(ctx context.Context, a Agent) (string, error) {
	token, err := c.readerTokenIn(ctx, a.namespace)
	if err != nil {
		return "", fmt.Errorf("token of service account %s/%s, to read its status: %w", a.namespace, readerAccount, err)
	}
	return token, nil
}

// readerTokenIn returns a token of readerAccount.
func (c *Client) readerTokenIn(ctx context.Context, namespace string) (string, error) {
	if t := c.reader.Load(); t != nil && t.namespace == namespace && time.Now().Before(t.until) {
		return t.token, nil
	}
	request := authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
		Spec:     authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(readerLife / time.Second))},
	}
	until := time.Now().Add(readerLife / 2)
	path := fmt.Sprintf("/api/v1/namespaces/%s/serviceaccounts/%s/token", namespace, readerAccount)
	if err := c.ask(ctx, path, &request); err != nil {
		return "", err
	}
	c.reader.Store(&readerToken{namespace, request.Status.Token, until})
	return request.Status.Token, nil
}
