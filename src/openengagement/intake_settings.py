"""The settings of the HTTP intake of events: its log, and its mappings (see `settings`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openengagement.notification_settings import NotificationSettings
from openengagement.provider_settings import ENV_PREFIX, SettingsError
from openengagement.setting_kinds import choice as _choice
from openengagement.setting_kinds import number as _number
from openengagement.setting_kinds import parse_mappings
from openengagement.setting_kinds import text as _text

LOG: Final = "log"  # a value of `intake`


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings(NotificationSettings):
    """The settings of the intake."""

    intake: str = _choice(
        "direct",
        "Whether batches of events are counted at once, or published to an event log for "
        "`consume` to count. The option --intake of `serve` replaces it.",
        "direct",
        LOG,
    )
    intake_log: str = _text(
        "",
        "Event log for `--intake log`, as `consume` takes it: nats://host:4222/stream or "
        "kafka://host:9092/topic.",
        unit="URL",
        secret=True,
    )
    intake_message_max_bytes: int = _number(
        1_000_000,
        "Maximum size of a batch in the event log, compressed and with its headers. The log must "
        "accept messages of that size.",
        unit="bytes",
        limits=(1024, 67_108_864),
    )
    batch_max_bytes: int = _number(
        67_108_864, "Maximum size of a batch as sent.", unit="bytes", limits=(1024, 1_073_741_824)
    )
    batch_max_decompressed_bytes: int = _number(
        268_435_456, "Maximum decompressed batch size.", unit="bytes", limits=(1024, 2_147_483_647)
    )
    batch_max_lines: int = _number(
        1_000_000, "Maximum number of lines in a batch.", unit="lines", limits=(1, 10_000_000)
    )
    rejections_listed_max: int = _number(
        100, "Maximum number of rejected lines in a response.", unit="lines", limits=(0, 10_000)
    )
    event_future_max_s: int = _number(
        300, "How far in the future an event may lie.", unit="seconds", limits=(0, 86_400)
    )
    batches_in_flight_max: int = _number(
        8,
        "Maximum number of platform batches in progress in one worker; further ones get 503.",
        unit="batches",
        limits=(1, 256),
    )
    batch_timeout_s: int = _number(
        60,
        "Maximum time until a batch of events is counted and answered; after that it gets 503.",
        unit="seconds",
        limits=(1, 3600),
    )
    counting_hang_max_s: int = _number(
        30,
        "How long the counting process may give no sign of life before it is replaced.",
        unit="seconds",
        limits=(10, 3600),
    )
    mappings: str = _text(
        "",
        "Mappings of a platform's own events for POST /platform/v1/events?map=NAME, such as "
        "likes=/etc/openengagement/likes.toml. Restart the server after a change.",
        unit="NAME=FILE, separated by commas",
    )

    def check_intake(self) -> None:
        """Check the settings of the intake.

        Raises:
            SettingsError: one of them is invalid.
        """
        _ = self.mapping_files
        if self.intake == LOG and not self.intake_log:
            raise SettingsError(
                f"{ENV_PREFIX}INTAKE_LOG: is not set; with --intake log it names the event log"
            )

    @property
    def mapping_files(self) -> dict[str, Path]:
        """The file of each name in `mappings`."""
        return self._parse("mappings", parse_mappings)
