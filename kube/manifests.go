// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
)

// ReadManifests returns the objects of a namespace that may hold a configuration, as
// lists in JSON: custom resources, ConfigMaps, and Secrets with passwords. Custom
// resources that are not installed are left out.
func ReadManifests(ctx context.Context, c *Client, namespace string) ([][]byte, error) {
	var lists [][]byte
	for _, kind := range config.ResourceKinds {
		k := customKinds[kind]
		text, err := c.custom[k.version].Get().Namespace(namespace).Resource(k.plural).Do(ctx).Raw()
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", k.plural, err)
		default:
			lists = append(lists, text)
		}
	}
	add := func(list any) error {
		text, err := json.Marshal(list)
		lists = append(lists, text)
		return err
	}
	maps, err := c.configMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read ConfigMaps: %w", err)
	}
	maps.TypeMeta = metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}
	if err := add(maps); err != nil {
		return nil, err
	}
	secrets, err := c.secrets(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + config.PasswordSecretType})
	if err != nil {
		return nil, fmt.Errorf("read Secrets: %w", err)
	}
	secrets.TypeMeta = metav1.TypeMeta{Kind: "SecretList", APIVersion: "v1"}
	return lists, add(secrets)
}
