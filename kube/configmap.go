// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// configKey is the key of a ConfigMap that holds the configuration.
const configKey = "config"

// ConfigMapOptions name a ConfigMap that holds a text: the configuration.
type ConfigMapOptions struct {
	Client    *Client     // required
	Namespace string      // required
	Name      string      // required
	Key       string      // optional: of the text in it; empty means config
	Wake      func()      // required: called after every change; must not block
	Doubt     func(Doubt) // optional: told of lists that are read again before they are believed; must not block
}

// A ConfigMap holds the newest version of the configuration's text.
type ConfigMap struct {
	opts ConfigMapOptions

	mu  sync.Mutex       // guards the fields below
	doc *source.Document // nil: not read yet
	uid types.UID        // of the last one there was
}

// NewConfigMap returns a ConfigMap that knows nothing until it runs.
func NewConfigMap(opts ConfigMapOptions) *ConfigMap {
	opts.Key = cmp.Or(opts.Key, configKey)
	return &ConfigMap{opts: opts}
}

// Document returns the newest version, and whether one was read yet.
func (c *ConfigMap) Document() (doc source.Document, read bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doc == nil {
		return doc, false
	}
	return *c.doc, true
}

// UID returns the UID of the ConfigMap; of the last one if there is none now.
func (c *ConfigMap) UID() types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uid
}

// Run reads until the context is canceled.
func (c *ConfigMap) Run(ctx context.Context) error {
	s := &sink[*corev1.ConfigMap]{
		wake:   c.opts.Wake,
		mu:     &c.mu,
		set:    c.set,
		remove: func(*corev1.ConfigMap) bool { return c.set(nil) },
		replace: func(all []*corev1.ConfigMap) bool {
			if len(all) == 0 {
				return c.set(nil)
			}
			return c.set(all[0])
		},
		synced: func() {},
		doubt: &doubter[*corev1.ConfigMap]{
			what: "ConfigMap " + c.opts.Name,
			known: func() int {
				if c.doc == nil || errors.Is(c.doc.Err, source.ErrNotFound) {
					return 0
				}
				return 1
			},
			has:  func(*corev1.ConfigMap) bool { return true },
			tell: c.opts.Doubt,
		},
	}
	follow(ctx, c.opts.Client.configMaps(c.opts.Namespace),
		fields.OneTermEqualSelector("metadata.name", c.opts.Name), s)
	return nil
}

// set keeps what a version of the ConfigMap says; nil is that there is none.
func (c *ConfigMap) set(m *corev1.ConfigMap) bool {
	doc := source.Document{Source: fmt.Sprintf("configmap %s/%s", c.opts.Namespace, c.opts.Name)}
	switch {
	case m == nil:
		doc.Err = source.ErrNotFound
	default:
		c.uid, doc.Version = m.UID, m.ResourceVersion
		text, ok := m.Data[c.opts.Key]
		if !ok {
			doc.Err = fmt.Errorf("no key %q", c.opts.Key)
			break
		}
		doc.Text, doc.Release = []byte(text), m.Annotations[config.AnnotationRelease]
	}
	c.doc = &doc
	return true
}
