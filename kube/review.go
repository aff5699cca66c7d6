// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// Paths of what is created to ask a question. Nothing is stored.
const (
	tokenReviews  = "/apis/authentication.k8s.io/v1/tokenreviews"
	accessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
)

// Review asks the API server who the owner of a token is, and whether that user may get
// a path that is no resource. An unknown token has no owner.
func (c *Client) Review(ctx context.Context, token, path string) (known, allowed bool, err error) {
	who := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	if err := c.ask(ctx, tokenReviews, &who); err != nil {
		return false, false, fmt.Errorf("review a token: %w", err)
	}
	if !who.Status.Authenticated {
		return false, false, nil
	}
	user := who.Status.User
	may := authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
			User:                  user.Username, Groups: user.Groups, UID: user.UID,
			Extra: make(map[string]authorizationv1.ExtraValue, len(user.Extra)),
		},
	}
	for key, values := range user.Extra {
		may.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	if err := c.ask(ctx, accessReviews, &may); err != nil {
		return false, false, fmt.Errorf("review the access of %s to %s: %w", user.Username, path, err)
	}
	return true, may.Status.Allowed && !may.Status.Denied, nil
}

// ask creates an object, and fills it in with the answer.
func (c *Client) ask(ctx context.Context, path string, object any) error {
	question, err := json.Marshal(object)
	if err != nil {
		return err
	}
	answer, err := asJSON(c.core.Post()).AbsPath(path).Body(question).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, object)
}

// asJSON lets a request and its answer be JSON.
func asJSON(r *rest.Request) *rest.Request {
	return r.SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON)
}
