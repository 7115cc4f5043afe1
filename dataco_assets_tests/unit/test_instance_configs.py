"""Tests the configuration files of Dagster and the containers: valid by Dagster's schema, and consistent.

No container engine is used: that images build and servers start is shown by `make images`.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.errors import DagsterInvalidConfigError
from dagster._core.instance.config import PoolGranularity, dagster_instance_config
from pydantic import SecretStr

from dataco_assets.settings import PREFIX, Settings, variable
from local_stack.servers.base import LOG4J2
from local_stack.servers.connect import MAIN_CLASS, worker_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
INSTANCE_FOLDERS = {"local": ROOT / "local_stack", "containers": DOCKER}
DAGSTER_SERVICES = ("dataco", "webserver", "daemon")
VARIABLES = {variable(field) for field in Settings.model_fields}


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _compose() -> dict[str, Any]:
    return _yaml(DOCKER / "docker-compose.yaml")


def _kubernetes(kind: str) -> dict[str, Any]:
    (found,) = [
        document
        for document in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
        if document["kind"] == kind
    ]
    return found


def _pins(path: Path) -> dict[str, str]:
    return dict(line.split("==") for line in path.read_text().split() if "==" in line)


def _interpolated(value: object) -> str:
    """A compose value with the defaults of its `${NAME:-default}` filled in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


@pytest.fixture(params=INSTANCE_FOLDERS)
def config(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The instance configuration as Dagster reads it."""
    return dagster_instance_config(str(INSTANCE_FOLDERS[request.param]))[0]


@pytest.fixture
def local_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copy(ROOT / "local_stack" / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_both_instances_tell_nobody_and_repeat_only_crashed_runs(config: Mapping[str, Any]) -> None:
    assert config["telemetry"] == {"enabled": False}
    assert config["nux"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"]
    assert config["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    # A run that was being launched when everything was killed goes on within 90 s.
    assert config["run_monitoring"]["start_timeout_seconds"] + config["run_monitoring"]["poll_interval_seconds"] <= 70
    assert config["run_retries"]["enabled"]
    assert not config["run_retries"]["retry_on_asset_or_op_failure"]
    assert set(config["retention"]["sensor"]["purge_after_days"]) == {"skipped", "started", "success", "failure"}


def test_both_instances_have_the_same_kinds_of_options() -> None:
    local, containers = (dagster_instance_config(str(folder))[0] for folder in INSTANCE_FOLDERS.values())
    assert set(containers) - set(local) == {"storage", "compute_logs"}
    for option in ("concurrency", "run_coordinator", "run_retries", "sensors"):
        assert local[option] == containers[option]
    assert set(local["run_monitoring"]) == set(containers["run_monitoring"])


def test_the_schema_used_here_refuses_what_is_misspelt(tmp_path: Path) -> None:
    text = (DOCKER / "dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(text.replace("free_slots_after_run_end_seconds", "free_slots_seconds"))
    with pytest.raises(DagsterInvalidConfigError, match="free_slots_seconds"):
        dagster_instance_config(str(tmp_path))


def test_the_local_instance_starts_with_one_run_per_pool(local_instance: dg.DagsterInstance) -> None:
    pools = local_instance.get_concurrency_config().pool_config
    assert pools.default_pool_limit == 1
    assert pools.pool_granularity is PoolGranularity.RUN
    assert local_instance.run_retries_max_retries > 0
    assert not local_instance.run_retries_retry_on_asset_or_op_failure
    assert local_instance.run_monitoring_max_runtime_seconds > 0


def test_every_variable_of_the_database_is_given_to_every_dagster_service() -> None:
    database = _yaml(DOCKER / "dagster.yaml")["storage"]["postgres"]["postgres_db"]
    wanted = {source["env"] for source in database.values() if isinstance(source, dict)}
    services = _compose()["services"]
    for name in DAGSTER_SERVICES:
        assert wanted <= set(services[name]["environment"]), name


@pytest.mark.parametrize("service", ["dataco", "setup"])
def test_compose_sets_only_variables_that_exist_to_values_that_are_allowed(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = _compose()["services"][service]["environment"]
    ours = {name: _interpolated(value) for name, value in environment.items() if name.startswith(PREFIX)}
    _assert_settings(ours, monkeypatch)


def test_compose_passes_on_whom_messages_reach_and_by_default_nobody() -> None:
    """The sensors run in the code location, so this is what sends messages."""
    environment = _compose()["services"]["dataco"]["environment"]
    defaults = {variable(name): field.default for name, field in Settings.model_fields.items()}
    receivers = {name for name in defaults if name.startswith((f"{PREFIX}WEBHOOK_", f"{PREFIX}SMTP_"))}
    assert {"DATACO_WEBHOOK_URL", "DATACO_SMTP_HOST", "DATACO_SMTP_TO"} <= receivers
    for name in receivers:
        default = defaults[name].get_secret_value() if isinstance(defaults[name], SecretStr) else defaults[name]
        assert environment[name] == f"${{{name}:-{default}}}"


def test_every_process_of_the_platform_sees_the_same_settings() -> None:
    settings = {
        service: ours
        for service, definition in _compose()["services"].items()
        if (ours := {name: v for name, v in definition.get("environment", {}).items() if name.startswith(PREFIX)})
    }
    assert set(settings) == {"dataco", "metrics", "dashboard", "live", "setup"}
    for service, ours in settings.items():
        assert ours == settings["dataco"], service


@pytest.mark.parametrize(
    ("service", "variable_name"),
    [
        ("dataco", "DATACO_AGGREGATES_URI"),
        ("setup", "DATACO_AGGREGATES_URI"),  # it creates the tables, whose first files are there
        ("live", "DATACO_LIVE_CHECKPOINT_URI"),
    ],
)
def test_what_must_outlive_a_container_is_on_a_volume(service: str, variable_name: str) -> None:
    definition = _compose()["services"][service]
    folders = {mount.partition(":")[2] for mount in definition["volumes"]}
    assert definition["environment"][variable_name].removeprefix("file://") in folders
    assert f"{variable_name}={definition['environment'][variable_name]}" in (DOCKER / "Dockerfile").read_text()


def test_the_images_user_may_write_to_every_volume() -> None:
    """A new volume takes the owner of the folder that it is mounted over; without one, it is root's."""
    made, _, owned = (DOCKER / "Dockerfile").read_text().partition("mkdir -p ")[2].partition("&& chown -R dataco ")
    assert "/var/lib/dataco" in owned.partition("\n")[0].split()
    image = _compose()["services"]["dataco"]["image"]
    for name, service in _compose()["services"].items():
        if service["image"] == image:
            for mount in service.get("volumes", ()):
                assert mount.partition(":")[2] in made.split(), name


def test_a_service_that_ends_is_started_again() -> None:
    """The set-up alone ends by itself."""
    for name, service in _compose()["services"].items():
        assert service["restart"] == ("no" if name == "setup" else "unless-stopped"), name


def test_kubernetes_sets_only_variables_that_exist_to_values_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_settings(_kubernetes("ConfigMap")["data"], monkeypatch)


def test_the_images_own_environment_is_of_settings() -> None:
    names = set(re.findall(rf"\b{PREFIX}\w+(?==)", (DOCKER / "Dockerfile").read_text()))
    assert names == {
        "DATACO_AGGREGATES_URI",
        "DATACO_CONNECTOR_JARS",
        "DATACO_LIVE_CHECKPOINT_URI",
        "DATACO_LIVE_JARS",
    }
    assert names <= VARIABLES


def _assert_settings(environment: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment
    assert set(environment) <= VARIABLES
    for name, value in environment.items():
        assert isinstance(value, str), f"{name} must be quoted: a container's environment is text"
        monkeypatch.setenv(name, value)
    Settings.load()


def test_compose_refers_only_to_what_it_defines() -> None:
    compose = _compose()
    services, volumes = compose["services"], set(compose["volumes"])
    mounted: set[str] = set()
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        mounted |= {mount.partition(":")[0] for mount in service.get("volumes", ())}
    folders = {mount for mount in mounted if mount.startswith("./")}
    assert all((DOCKER / folder).is_dir() for folder in folders)
    assert mounted - folders == volumes
    settings = services["dataco"]["environment"]
    hosts = {
        settings[variable(field)].rpartition("//")[2].partition(":")[0]
        for field in (
            "kafka_bootstrap_servers",
            "hbase_thrift_host",
            "hbase_zookeeper_quorum",
            "elasticsearch_url",
            "catalog_uri",
        )
    }
    assert hosts <= set(services)


def test_a_service_that_is_waited_for_has_a_health_check() -> None:
    services = _compose()["services"]
    for service in services.values():
        needs = service.get("depends_on", {})
        for needed, condition in needs.items() if isinstance(needs, dict) else ():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], needed


def test_only_pages_and_metrics_can_be_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in _compose()["services"].items() if "ports" in service}
    assert published == {
        "webserver": ["127.0.0.1:3000:3000"],
        "metrics": ["127.0.0.1:9464:9464"],
        "dashboard": ["127.0.0.1:8050:8050"],
        "grafana": ["127.0.0.1:3001:3000"],
        "kibana": ["127.0.0.1:5601:5601"],
    }


def test_what_not_everybody_needs_is_started_by_a_profile_only() -> None:
    profiles = {name: service["profiles"] for name, service in _compose()["services"].items() if "profiles" in service}
    assert profiles == {
        "connect": ["connect"],
        "grafana": ["grafana"],
        "prometheus": ["grafana"],
        "kibana": ["kibana"],
    }


def test_the_containers_workspace_is_the_code_location_of_compose() -> None:
    (entry,) = _yaml(DOCKER / "workspace.yaml")["load_from"]
    assert entry["grpc_server"]["host"] in _compose()["services"]
    assert f'"--port", "{entry["grpc_server"]["port"]}"' in (DOCKER / "Dockerfile").read_text()
    (local,) = _yaml(ROOT / "workspace.yaml")["load_from"]
    assert local["python_module"]["location_name"] == entry["grpc_server"]["location_name"]


def test_the_tables_catalog_is_dagsters_database() -> None:
    environment = _compose()["services"]["dataco"]["environment"]
    names = {name: environment[f"DAGSTER_POSTGRES_{name}"] for name in ("HOST", "PORT", "DB", "USER", "PASSWORD")}
    address = f"postgresql://{names['HOST']}:{names['PORT']}/{names['DB']}"
    assert environment["DATACO_CATALOG_URI"] == address
    assert environment["DATACO_CATALOG_USERNAME"] == names["USER"]
    assert environment["DATACO_CATALOG_PASSWORD"] == names["PASSWORD"]
    assert "postgres" in _compose()["services"]["setup"]["depends_on"]
    helm, settings = _yaml(DOCKER / "helm-values.yaml")["postgresql"], _kubernetes("ConfigMap")["data"]
    assert settings["DATACO_CATALOG_URI"] == f"postgresql://{helm['postgresqlHost']}:5432/{helm['postgresqlDatabase']}"
    assert settings["DATACO_CATALOG_USERNAME"] == helm["postgresqlUsername"]


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "hbase/Dockerfile", "connect/Dockerfile"])
def test_what_an_image_copies_is_there_and_not_ignored(dockerfile: str) -> None:
    path = DOCKER / dockerfile
    ignored = path.with_name("Dockerfile.dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", path.read_text(), re.MULTILINE)
    sources = " ".join(copied).split()
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == keep or source.startswith(f"{keep}/") for keep in kept), source


def test_the_worker_in_its_image_is_configured_as_in_the_local_stack() -> None:
    text = (DOCKER / "connect" / "worker.properties").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    ours = worker_settings(brokers="", rest="", plugins=Path(), name="")
    of_tests_alone = {"session.timeout.ms", "heartbeat.interval.ms"} | {n for n in ours if n.endswith("partitions")}
    assert set(ours) - of_tests_alone == {name for name in given if not name.startswith("config.providers")}
    same = ("key.converter", "value.converter", "plugin.discovery")
    assert {name: given[name] for name in same} == {name: ours[name] for name in same}
    assert (DOCKER / "connect" / "log4j2.properties").read_text() == LOG4J2


def test_each_variable_of_the_worker_is_set() -> None:
    dockerfile = (DOCKER / "connect" / "Dockerfile").read_text()
    defaults = set(re.findall(r"\b(CONNECT_\w+)=", dockerfile))
    read = set(re.findall(r"\$\{env:(CONNECT_\w+)\}", (DOCKER / "connect" / "worker.properties").read_text()))
    set_by_compose = set(_compose()["services"]["connect"]["environment"])
    assert defaults < read
    assert read - defaults == {"CONNECT_BOOTSTRAP_SERVERS"} <= set_by_compose <= read
    assert MAIN_CLASS in dockerfile


def test_the_images_of_this_project_have_its_version() -> None:
    pom = (ROOT / "kafka_connect" / "pom.xml").read_text()
    version = pom.partition("<version>")[2].partition("</version>")[0]
    images = {service["image"] for service in _compose()["services"].values() if service["image"].startswith("dataco/")}
    assert {f"dataco/connect:{version}", f"dataco/clickstream:{version}"} <= images


def test_releases_of_dagster_agree() -> None:
    pins = _pins(ROOT / "constraints.txt")
    assert pins["dagster-postgres"] == pins["dagster-k8s"]
    assert f"--version {pins['dagster']} " in (DOCKER / "helm-values.yaml").read_text()


def test_every_instance_names_the_database_driver_that_the_image_has() -> None:
    (driver,) = {pin for pin in _pins(ROOT / "constraints.txt") if pin.startswith("psycopg")}
    scheme = f"postgresql+{driver.removesuffix('-binary')}"
    assert _yaml(DOCKER / "dagster.yaml")["storage"]["postgres"]["postgres_db"]["scheme"] == scheme
    assert _yaml(DOCKER / "helm-values.yaml")["postgresql"]["postgresqlScheme"] == scheme
    assert "postgres]" in (DOCKER / "Dockerfile").read_text()


def test_helm_never_repeats_a_pod_and_repeats_only_crashed_runs() -> None:
    values = _yaml(DOCKER / "helm-values.yaml")
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    assert launcher["runK8sConfig"]["jobSpecConfig"]["backoffLimit"] == 0
    # The chart would write a second `run_retries` into the same file.
    assert not values["dagsterDaemon"]["runRetries"]["enabled"]
    assert not values["dagsterDaemon"]["runMonitoring"]["enabled"]
    assert values["additionalInstanceConfig"]["run_retries"] == _yaml(DOCKER / "dagster.yaml")["run_retries"]
    pools = _yaml(DOCKER / "dagster.yaml")["concurrency"]["pools"]
    assert values["concurrency"]["pools"] == {
        "defaultLimit": pools["default_limit"],
        "granularity": pools["granularity"],
    }


def test_what_the_chart_adds_to_the_instance_is_valid(tmp_path: Path) -> None:
    extra = _yaml(DOCKER / "helm-values.yaml")["additionalInstanceConfig"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(extra))
    config = dagster_instance_config(str(tmp_path))[0]
    assert config["nux"] == {"enabled": False}
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0, "a run that hangs would hold its pool for ever"


def test_helm_values_and_manifests_name_the_same_things() -> None:
    (deployment,) = _yaml(DOCKER / "helm-values.yaml")["dagster-user-deployments"]["deployments"]
    (container,) = _kubernetes("Job")["spec"]["template"]["spec"]["containers"]
    image = deployment["image"]
    assert container["image"] == f"{image['repository']}:{image['tag']}" == _compose()["services"]["dataco"]["image"]
    config_map, secret = (next(iter(source.values()))["name"] for source in container["envFrom"])
    assert [entry["name"] for entry in deployment["envConfigMaps"]] == [config_map]
    assert [entry["name"] for entry in deployment["envSecrets"]] == [secret]
    assert _kubernetes("ConfigMap")["metadata"]["name"] == config_map
    (volume,) = deployment["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == _kubernetes("PersistentVolumeClaim")["metadata"]["name"]
    (mount,) = deployment["volumeMounts"]
    assert _kubernetes("ConfigMap")["data"]["DATACO_AGGREGATES_URI"] == f"file://{mount['mountPath']}"
    # The set-up creates the tables, whose first files are in that folder.
    assert container["volumeMounts"] == [mount]
    assert _kubernetes("Job")["spec"]["template"]["spec"]["volumes"] == [volume]


@pytest.mark.parametrize("kind", ["ConfigMap", "PersistentVolumeClaim", "Job"])
def test_manifests_are_objects_kubernetes_knows(kind: str) -> None:
    import kubernetes
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

    model = getattr(kubernetes.client, f"V1{kind}")
    document = _kubernetes(kind)
    spec = k8s_snake_case_dict(model, document)  # an unknown field at any level is an error
    assert k8s_model_from_dict(model, spec).metadata.name == document["metadata"]["name"]
