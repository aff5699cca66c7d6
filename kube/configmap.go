// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
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
	Doubt     func(Doubt) // optional: called for a list that is read again before it is believed; must not block
}

// A ConfigMap holds the newest version of the configuration's text.
type ConfigMap struct {
	opts ConfigMapOptions

	mu   sync.Mutex // guards the fields below
	maps *mirror[string, configMap]
	uid  types.UID // of the last one there was
}

// A configMap is what Herald reads of a ConfigMap.
type configMap struct {
	name string
	uid  types.UID
	doc  source.Document
}

// NewConfigMap returns a ConfigMap that knows nothing until it runs.
func NewConfigMap(opts ConfigMapOptions) *ConfigMap {
	opts.Key = cmp.Or(opts.Key, configKey)
	c := &ConfigMap{opts: opts}
	c.maps = newMirror(kind[*corev1.ConfigMap, string, configMap]{
		from:    func(client *Client) lister { return client.configMaps(opts.Namespace).named(opts.Name) },
		row:     func(m *corev1.ConfigMap) configMap { return configMap{m.Name, m.UID, c.document(m)} },
		key:     func(m configMap) string { return m.name },
		compare: strings.Compare,
	}, mirrorOptions[configMap]{
		mu: &c.mu, wake: opts.Wake,
		doubt: &doubter{what: "ConfigMap " + opts.Name, tell: opts.Doubt},
		news: func(changes []change[configMap]) bool {
			for _, change := range changes {
				if change.now != nil {
					c.uid = change.now.uid
				}
			}
			return true
		},
	})
	return c
}

// document returns the document in a ConfigMap; nil is that there is none.
func (c *ConfigMap) document(m *corev1.ConfigMap) source.Document {
	doc := source.Document{Source: fmt.Sprintf("configmap %s/%s", c.opts.Namespace, c.opts.Name)}
	if m == nil {
		doc.Err = source.ErrNotFound
		return doc
	}
	doc.Version = m.ResourceVersion
	text, ok := m.Data[c.opts.Key]
	if !ok {
		doc.Err = fmt.Errorf("no key %q", c.opts.Key)
		return doc
	}
	doc.Text, doc.Release = []byte(text), m.Annotations[config.AnnotationRelease]
	return doc
}

// Document returns the newest version, and whether one was read yet.
func (c *ConfigMap) Document() (doc source.Document, read bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.maps.reading == unread {
		return doc, false
	}
	if m, ok := c.maps.get(c.opts.Name); ok {
		return m.doc, true
	}
	return c.document(nil), true
}

// UID returns the UID of the ConfigMap; of the last one if there is none now.
func (c *ConfigMap) UID() types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uid
}

// Run reads until the context is canceled.
func (c *ConfigMap) Run(ctx context.Context) error {
	c.maps.run(ctx, c.opts.Client)
	return nil
}
