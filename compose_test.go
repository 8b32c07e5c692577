package spine_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func composeProject(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"docker-compose.yml"}, cli.WithEnv([]string{"SPINE_POSTGRES_PASSWORD=other"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompose loads docker-compose.yml as Compose does, strictly, and looks at what
// people rely on.
func TestCompose(t *testing.T) {
	t.Parallel()
	p := composeProject(t)
	versions := map[string]string{ // the versions that the suites run against
		"kafka":    "apache/kafka:4.3.1",
		"registry": "apicurio/apicurio-registry:3.3.3",
		"postgres": "postgres:15",
	}
	if len(p.Services) != len(versions) {
		t.Errorf("services = %v; want kafka, registry, postgres", p.ServiceNames())
	}
	for name, image := range versions {
		s, err := p.GetService(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Image != image {
			t.Errorf("%s runs %s, want %s", name, s.Image, image)
		}
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		if len(s.Ports) == 0 {
			t.Errorf("%s has no port", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s on %q: these parts know no users, 127.0.0.1 only", name, port.Published, port.HostIP)
			}
		}
	}
	if d := p.Services["registry"].DependsOn["postgres"]; d.Condition != types.ServiceConditionHealthy {
		t.Errorf("registry waits for postgres until %q, want service_healthy", d.Condition)
	}
	for _, name := range []string{"kafka", "postgres"} {
		s := p.Services[name]
		if len(s.Volumes) != 1 || s.Volumes[0].Type != types.VolumeTypeVolume || s.Volumes[0].Source != name {
			t.Errorf("%s keeps its data in %+v, want the volume %s", name, s.Volumes, name)
		}
	}
	for service, variable := range map[string]string{"registry": "APICURIO_DATASOURCE_PASSWORD", "postgres": "POSTGRES_PASSWORD"} {
		if got := p.Services[service].Environment[variable]; got == nil || *got != "other" {
			t.Errorf("%s of %s does not follow SPINE_POSTGRES_PASSWORD", variable, service)
		}
	}
	if got := p.Services["kafka"].Environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]; got == nil || *got != "false" {
		t.Error("Kafka creates topics by itself: a typing error would become a topic")
	}
}

// TestComposeEnvironment compares the addresses in the head of the file with what
// the services publish.
func TestComposeEnvironment(t *testing.T) {
	t.Parallel()
	p := composeProject(t)
	text, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	head := string(text)
	for variable, service := range map[string]string{
		"SPINE_KAFKA_BROKERS": "kafka", "SPINE_REGISTRY_URL": "registry", "SPINE_DATABASE_URL": "postgres",
	} {
		m := regexp.MustCompile(variable + `=.*127\.0\.0\.1:(\d+)`).FindStringSubmatch(head)
		if m == nil {
			t.Errorf("the head of the file does not set %s", variable)
			continue
		}
		if port := p.Services[service].Ports[0].Published; port != m[1] {
			t.Errorf("%s says port %s, %s publishes %s", variable, m[1], service, port)
		}
	}
	advertised := p.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"]
	if advertised == nil || !strings.Contains(*advertised, "HOST://127.0.0.1:"+p.Services["kafka"].Ports[0].Published) {
		t.Error("Kafka does not advertise the address that it publishes")
	}
}
