// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/heraldlb/herald/config"
)

// whyCommand begins the command that shows a Chain.
const whyCommand = "heraldctl why "

// whyOf returns the command that shows the Chain of a subject.
func whyOf(subject string) string { return whyCommand + quoted(subject) }

// kubectl returns a command about Herald's namespace.
func (b *builder) kubectl(format string, args ...any) string {
	return kubectlIn(b.in.Namespace, format, args...)
}

// kubectlIn returns a command about a namespace.
func kubectlIn(namespace, format string, args ...any) string {
	return "kubectl -n " + quoted(namespace) + " " + fmt.Sprintf(format, args...)
}

// ofService returns a kubectl command with a verb about a Service.
func ofService(verb, service string) string {
	namespace, name, _ := strings.Cut(service, "/")
	return kubectlIn(namespace, "%s service %s", verb, quoted(name))
}

// ofResource returns a kubectl command with a verb about a resource of Herald.
func (b *builder) ofResource(verb string, id config.ID) string {
	return b.kubectl("%s %s %s", verb, plural(id.Kind), quoted(id.Name))
}

// plural returns the name of a kind of resources for kubectl. Other products have resources
// with the same short one.
func plural(kind string) string {
	name := strings.ToLower(kind) + "s"
	if kind == config.KindCommunity {
		name = "communities"
	}
	return name + "." + config.ResourceGroup
}

// plain is a word that a shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

// Quoted returns a text as one word for a shell.
func Quoted(text string) string { return quoted(text) }

func quoted(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
