// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Raw returns what the API server answers to a GET of a path, as JSON or text. The caller
// closes it.
func (c *Client) Raw(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	r := c.custom[customVersions[0]].Get().AbsPath(path).SetHeader("Accept", "application/json, */*")
	for name, values := range query {
		for _, v := range values {
			r.Param(name, v)
		}
	}
	return r.Stream(ctx)
}

// Page returns a page that a pod serves on a port, such as "metrics". The API server fetches
// it. The caller closes it.
func (c *Client) Page(ctx context.Context, p *corev1.Pod, port int32, page string) (io.ReadCloser, error) {
	a := Agent{Node: p.Spec.NodeName, namespace: p.Namespace, pod: p.Name, port: port}
	body, err := c.page(a, page, "", "").Stream(ctx)
	if !needsTLS(err) {
		return body, err
	}
	token, err := c.readerTokenOf(ctx, a)
	if err != nil {
		return nil, err
	}
	return c.page(a, page, "https:", token).Stream(ctx)
}

// needsTLS reports whether a page is served over TLS alone.
func needsTLS(err error) bool {
	answer := apierrors.APIStatus(nil)
	return errors.As(err, &answer) && answer.Status().Code == http.StatusUpgradeRequired
}
