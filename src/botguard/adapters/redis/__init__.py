"""Redis stores for several processes: claims, limits and breaker state. Needs ``botguard[redis]``."""

from botguard.adapters.redis.breakers import RedisBreakers
from botguard.adapters.redis.claims import RedisClaims
from botguard.adapters.redis.limits import RedisLimits
from botguard.adapters.redis.server import RedisServer

__all__ = ["RedisBreakers", "RedisClaims", "RedisLimits", "RedisServer"]
