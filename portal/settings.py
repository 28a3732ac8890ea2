"""Django's settings for Orca. What may differ between machines comes from the environment, through ``portal.env``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from portal import env

django_stubs_ext.monkeypatch()  # lets ModelAdmin, forms and views be written with their types in brackets

BASE_DIR = env.BASE_DIR
ORCA_HOME = env.HOME

# --- safety ------------------------------------------------------------------------------------------------------
DEBUG = env.switch("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY")
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("SECRET_KEY is too short: it must be at least 32 characters.")
PUBLIC_URL = env.text("ORCA_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
_https = PUBLIC_URL.startswith("https://")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]", "testserver"])
CSRF_FAILURE_VIEW = "portal.web.views.errors.csrf_failed"
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [PUBLIC_URL])
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
BEHIND_PROXY = env.switch("ORCA_BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- application -------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "portal.core",
    "portal.accounts",
    "portal.clouds",
    "portal.workspaces",
    "portal.pipelines",
    "portal.schedules",
    "portal.notices",
    "portal.usage",
    "portal.jobs",
    "portal.web",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "axes",
    "auditlog",
    "django_htmx",
    "django_celery_beat",
    "django_filters",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "portal.core.middleware.ClientAddressMiddleware",  # before all that count by address
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.web.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.web.middleware.OrcaErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- data --------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{ORCA_HOME / 'orca.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.text("ORCA_REDIS_URL", "")
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

# --- people ------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
MFA_ADAPTER = "portal.accounts.adapter.MfaAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CONFIRM_EMAIL_ON_GET = True
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Orca] "
ACCOUNT_UNIQUE_EMAIL = True
# One address a person: a new one takes the old one's place once it is verified, and User.email is unique. So the
# constraint that MySQL cannot make (allauth's W036) has a column of its own.
ACCOUNT_CHANGE_EMAIL = True
SILENCED_SYSTEM_CHECKS = ["models.W036"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _https else "http"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Orca"
AXES_FAILURE_LIMIT = env.number("ORCA_LOGIN_FAILURES", 5, least=1, most=100)
AXES_COOLOFF_TIME = env.number("ORCA_LOCKOUT_MINUTES", 15, least=1, most=10_080) / 60
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
AXES_USERNAME_CALLABLE = "portal.accounts.lockout.username_of"
AXES_LOCKOUT_CALLABLE = "portal.accounts.lockout.locked_out"
AXES_ENABLE_ACCESS_FAILURE_LOG = True
SIGNUP_APPROVAL = env.switch("ORCA_SIGNUP_APPROVAL", False)
# allauth counts each form that is sent; a whole class may sit behind one address.
_sign_ups, _, _unit = env.rate("ORCA_SIGNUP_RATE", "60/hour").partition("/")
ACCOUNT_RATE_LIMITS = {"signup": f"{_sign_ups}/{_unit[0]}/ip"}
# Domains that hand out addresses to throw away, one in a line, on top of those that are known.
MAIL_BLOCKLIST = env.text("ORCA_MAIL_BLOCKLIST", "")
MAIL_THROWAWAY = env.switch("ORCA_MAIL_THROWAWAY", False)
# What is shown to operators: so many who sign up from one place in a day, so much sent out by one person in two.
SIGNUP_ALARM = env.number("ORCA_SIGNUP_ALARM", 10, least=2, most=1_000_000)
EGRESS_ALARM_GB = env.number("ORCA_EGRESS_ALARM_GB", 50, least=1, most=1_000_000)

# --- how much one person may have -------------------------------------------------------------------------------------
# Money is kept in nano-dollars. Without an amount there is no budget.
BUDGET_SOFT = env.dollars("ORCA_BUDGET_SOFT")
BUDGET_HARD = env.dollars("ORCA_BUDGET_HARD")
# What S3 and EC2 have measured of traffic is asked for so often, in seconds.
TRAFFIC_EVERY = env.number("ORCA_TRAFFIC_EVERY", 3_600, least=10, most=86_400)
BUDGET_SWEEP = env.number("ORCA_BUDGET_SWEEP", 60, least=5, most=3_600)
MAX_WORKSPACES = env.number("ORCA_MAX_WORKSPACES", 3, least=0, most=10_000)
QUOTA: dict[str, Any] = {
    "nodes": env.number("ORCA_MAX_NODES", 8, least=1, most=100),
    "sizes": (),
    "volume_gb": 1_000,
    "step_seconds": env.number("ORCA_MAX_STEP_SECONDS", 604_800, least=3_600, most=604_800),
    "open_runs": env.number("ORCA_MAX_OPEN_RUNS", 10_000, least=1, most=10_000_000),
    "open_steps": env.number("ORCA_MAX_OPEN_STEPS", 100_000, least=1, most=10_000_000),
}
# Whoever signs up while this is on is on trial, until an operator lifts it.
TRIAL = env.switch("ORCA_TRIAL", False)
TRIAL_BUDGET = env.dollars("ORCA_TRIAL_BUDGET", "5")
TRIAL_QUOTA: dict[str, Any] = {
    "workspaces": env.number("ORCA_TRIAL_WORKSPACES", 1, least=0, most=10_000),
    "nodes": env.number("ORCA_TRIAL_NODES", 2, least=1, most=100),
    "sizes": tuple(env.words("ORCA_TRIAL_SIZES", ["t3.small", "t3.medium"])),
    "volume_gb": env.number("ORCA_TRIAL_VOLUME_GB", 50, least=8, most=1_000),
    "step_seconds": env.number("ORCA_TRIAL_STEP_SECONDS", 14_400, least=3_600, most=604_800),
    "open_runs": env.number("ORCA_TRIAL_OPEN_RUNS", 100, least=1, most=10_000_000),
    "open_steps": env.number("ORCA_TRIAL_OPEN_STEPS", 1_000, least=1, most=10_000_000),
}

EMAIL_BACKEND = env.text("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = ORCA_HOME / "mail"
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 25, least=1, most=65_535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.switch("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Orca <orca@localhost>")

# --- pages -------------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = ORCA_HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
MEDIA_ROOT = ORCA_HOME / "media"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
UPLOAD_LIMIT_MB = env.number("ORCA_UPLOAD_LIMIT_MB", 100, least=1, most=5_000)
DATA_UPLOAD_MAX_NUMBER_FILES = 1000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1100  # a path for each file, and the other fields
FILE_UPLOAD_TEMP_DIR = None

# --- API ---------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "portal.core.api.CursorPages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PARSER_CLASSES": [
        "portal.core.requests.JsonParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"login": env.rate("ORCA_TOKEN_RATE", "30/min")},
    "EXCEPTION_HANDLER": "portal.core.api.problem_response",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
KNOX_TOKEN_MODEL = "accounts.ApiToken"  # noqa: S105
REST_KNOX = {
    "TOKEN_TTL": None,
    "TOKEN_PREFIX": "orca_",
    "AUTH_HEADER_PREFIX": "Bearer",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Orca API",
    "DESCRIPTION": "Everything that Orca's pages can do, for programs. Send `Authorization: Bearer <token>`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "defaultModelsExpandDepth": -1},
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.core.api.document_problems",
    ],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RunState": "portal.pipelines.models.State",
        "WorkspaceState": "portal.workspaces.models.Workspace.State",
        "TerraformRunState": "portal.workspaces.models.TerraformRun.State",
        "NoticeState": "portal.notices.models.Notice.State",
        "NoticeKind": "portal.notices.models.Kind",
        "InstanceState": "portal.workspaces.models.Instance.State",
        "JobPhase": "portal.jobs.models.Phase",
        "CloudAccountState": "portal.clouds.models.CloudAccount.State",
    },
}

# --- time and background work -------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.text("ORCA_BROKER_URL", REDIS_URL or f"sqla+sqlite:///{ORCA_HOME / 'broker.sqlite3'}")
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 7200} if "redis" in CELERY_BROKER_URL else {}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# What may take long has a worker of its own, so that no chore waits behind it.
CELERY_TASK_ROUTES = {
    "portal.workspaces.tasks.terraform_run_execute": {"queue": "terraform"},
    "portal.jobs.tasks.job_work": {"queue": "jobs"},
    "portal.jobs.tasks.outputs_delete": {"queue": "jobs"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "portal.schedules.beat:Scheduler"  # django-celery-beat's, driven by one beat at a time
# An idle instance that has heard nothing of the portal for so many seconds shuts itself down.
PORTAL_GONE = env.number("ORCA_PORTAL_GONE", 86_400, least=60, most=31_536_000)
# What is not begun when the next one is due need not be: a worker that was away for long finds one of each.
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": float(seconds), "options": {"expire_seconds": seconds}}
    for name, task, seconds in (
        ("outbox", "portal.pipelines.tasks.outbox_sweep", 10),
        ("runs", "portal.pipelines.tasks.runs_sweep", 30),
        ("terraform", "portal.workspaces.tasks.terraform_runs_sweep", 15),
        ("instances", "portal.workspaces.tasks.instances_sweep", 15),
        ("budgets", "portal.usage.tasks.budgets_sweep", BUDGET_SWEEP),
        ("leases", "portal.workspaces.tasks.leases_renew", min(3_600, PORTAL_GONE // 4)),
        ("notices", "portal.notices.tasks.notices_send", 5),
        ("absences", "portal.notices.tasks.absences_note", 30),
        ("notices-forget", "portal.notices.tasks.notices_forget", 3_600),
        ("schedules", "portal.schedules.tasks.schedules_check", 60),
        ("fires", "portal.schedules.tasks.fires_forget", 3_600),
        ("jobs", "portal.jobs.tasks.jobs_sweep", 10),
        ("jobs-expire", "portal.jobs.tasks.outputs_expire", 3_600),
        ("records", "portal.pipelines.tasks.records_forget", 3_600),
        ("usage-facts", "portal.usage.tasks.facts_observe", 30),
        ("usage-settle", "portal.usage.tasks.spans_settle", 300),
        ("usage-storage", "portal.usage.tasks.storage_measure", 3_600),
        ("usage-traffic", "portal.usage.tasks.traffic_measure", TRAFFIC_EVERY),
        ("housekeeping", "portal.core.tasks.housekeeping", 3_600),
    )
}

# --- schedules ----------------------------------------------------------------------------------------------------
MAX_SCHEDULES = env.number("ORCA_MAX_SCHEDULES", 1_000, least=0, most=100_000)
LEAST_INTERVAL = env.number("ORCA_LEAST_INTERVAL", 1, least=1, most=86_400)

# --- usage --------------------------------------------------------------------------------------------------------
MARGIN_PERCENT = env.decimal("ORCA_MARGIN_PERCENT", "0", least=-100, most=10_000)
TRIAL_CREDIT = env.decimal("ORCA_TRIAL_CREDIT", "0", most=1_000_000)
TRIAL_DAYS = env.number("ORCA_TRIAL_DAYS", 30, least=1, most=3_650)

# --- jobs ---------------------------------------------------------------------------------------------------------
MAX_ITEMS = env.number("ORCA_MAX_ITEMS", 100_000, least=1, most=10_000_000)
MAX_SHARDS = env.number("ORCA_MAX_SHARDS", 10_000, least=1, most=100_000)
MAX_OPEN_JOBS = env.number("ORCA_MAX_OPEN_JOBS", 100, least=1, most=100_000)
SEARCH_WITHIN = env.number("ORCA_SEARCH_WITHIN", 1_800, least=10, most=86_400)
NODES_LINGER = env.number("ORCA_NODES_LINGER", 60, least=0, most=86_400)
SHARD_SLOW_AFTER = env.number("ORCA_SHARD_SLOW_AFTER", 30, least=1, most=86_400)

# --- cloud -------------------------------------------------------------------------------------------------------
# boto3 and Terraform read AWS_ENDPOINT_URL and the credentials from the environment themselves.
AWS_ENDPOINT_URL = env.text("AWS_ENDPOINT_URL", "")
AWS_REGION = env.text("AWS_DEFAULT_REGION", "eu-central-1")
PUBLIC_AWS_ENDPOINT_URL = env.text("ORCA_PUBLIC_AWS_ENDPOINT_URL", AWS_ENDPOINT_URL)
SSH_PORT = env.number("ORCA_SSH_PORT", 22, least=1, most=65_535)
SSH_CIDRS = env.words("ORCA_SSH_CIDRS", ["0.0.0.0/0"])
DEFAULT_INSTANCE_TYPE = env.text("ORCA_DEFAULT_INSTANCE_TYPE", "t3.small")
SLOTS_PER_INSTANCE = env.number("ORCA_SLOTS", 4, least=1, most=256)
IMAGE_ID = env.text("ORCA_IMAGE_ID", "")
AGENT_ARCHIVE = Path(env.text("ORCA_AGENT_ARCHIVE", str(ORCA_HOME / "agent" / "orca-agent.tar.gz")))
TERRAFORM_BINARY = env.text("ORCA_TERRAFORM", "terraform")
TERRAFORM_CLI_CONFIG = Path(env.text("ORCA_TERRAFORM_CLI_CONFIG", str(ORCA_HOME / "terraform" / "terraform.rc")))
TERRAFORM_ROOT = BASE_DIR / "terraform" / "envs"
TERRAFORM_DATA = ORCA_HOME / "terraform" / "data"
# Where instances share one engine, as in the embedded cloud, an image need not travel.
IMAGE_REGISTRY = env.switch("ORCA_IMAGE_REGISTRY", not AWS_ENDPOINT_URL)
# S3's request metrics cost as CloudWatch's custom metrics do; without them nobody knows what is downloaded.
REQUEST_METRICS = env.switch("ORCA_REQUEST_METRICS", True)
S3_PATH_STYLE = env.switch("ORCA_S3_PATH_STYLE", bool(AWS_ENDPOINT_URL))
# How long silence may last before a sweep acts on it, in seconds.
TERRAFORM_SILENCE = env.number("ORCA_TERRAFORM_SILENCE", 30, least=5, most=3_600)
INSTANCE_SILENCE = env.number("ORCA_INSTANCE_SILENCE", 45, least=15, most=3_600)
LOST_AFTER = env.number("ORCA_LOST_AFTER", 900, least=30, most=86_400)
READY_WITHIN = env.number("ORCA_READY_WITHIN", 900, least=30, most=86_400)
# Whether webhooks may be sent into private networks; never to the metadata of this machine.
WEBHOOK_PRIVATE_ADDRESSES = env.switch("ORCA_WEBHOOK_PRIVATE_ADDRESSES", bool(AWS_ENDPOINT_URL))
# Whether catalogues and files of a job may be read from private networks; the same holds of metadata.
DATA_PRIVATE_ADDRESSES = env.switch("ORCA_DATA_PRIVATE_ADDRESSES", bool(AWS_ENDPOINT_URL))
# How much of the catalogues that were read is kept on disk, by each machine; 0 for nothing.
CATALOGUE_CACHE_MB = env.number("ORCA_CATALOGUE_CACHE_MB", 200, least=0, most=100_000)

# --- logs --------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.text("ORCA_LOG_LEVEL", "INFO")},
    "loggers": {
        "botocore": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}
