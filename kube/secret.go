// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// SecretKey is the key of the Secret that agents encrypt their gossip with.
const SecretKey = "secretkey"

// SecretOptions name the Secret that all agents share.
type SecretOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Name      string       // required
	Logger    *slog.Logger // required
}

// EnsureSecret creates the Secret, with a random value, unless there is one. It
// retries until it succeeds or the context is canceled.
func EnsureSecret(ctx context.Context, opts SecretOptions) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: opts.Namespace, Name: opts.Name},
		Data:       map[string][]byte{SecretKey: []byte(rand.Text())},
	}
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: .5, Steps: 8, Cap: 10 * time.Second}
	logged := false
	for ctx.Err() == nil {
		err := opts.Client.createSecret(ctx, secret)
		switch {
		case err == nil:
			opts.Logger.Info("agents' secret created", "name", opts.Name)
			return
		case apierrors.IsAlreadyExists(err):
			return
		case !logged && ctx.Err() == nil:
			logged = true
			opts.Logger.Warn("agents' secret not created", "err", fmt.Errorf("secret %s/%s: %w", opts.Namespace, opts.Name, err))
		}
		pause(ctx, backoff.Step())
	}
}

// createSecret creates a Secret.
func (c *Client) createSecret(ctx context.Context, s *corev1.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.core.Post().Namespace(s.Namespace).Resource("secrets").Body(s).Do(ctx).Error()
}
