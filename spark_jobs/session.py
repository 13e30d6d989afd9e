"""The Spark session of a feature job: in UTC, on this machine, on the loopback interface, quiet."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from spark_jobs.errors import SparkUnavailable

# In a job of a minute, on few cores, Java's optimising compiler takes more time than it saves: a third of all.
FOR_A_SHORT_JOB = "-XX:TieredStopAtLevel=1 -XX:+UseParallelGC"

JAVA_NEEDED = "Spark needs Java 17 or newer: install one and put it on PATH or in JAVA_HOME"


@contextmanager
def spark_session(
    app_name: str,
    driver_memory: str = "2g",
    shuffle_partitions: int | None = None,
    java_options: str = FOR_A_SHORT_JOB,
) -> Iterator[SparkSession]:
    """Start Spark on every core of this machine and stop it when the block ends.

    Args:
        app_name: how Spark names the job in its log.
        driver_memory: heap of the only JVM there is, as Java writes it (``2g``).
        shuffle_partitions: tasks after a shuffle; by default two per core.
        java_options: how the JVM compiles and collects; give "" for a job of many minutes.

    Raises:
        SparkUnavailable: there is no Java, or Spark does not start on it.
    """
    require_java()
    conf = SparkConf(loadDefaults=False)
    conf.setAll(list(settings(driver_memory, shuffle_partitions, java_options).items()))
    conf.setAppName(app_name)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            gateway = launch_gateway(conf, popen_kwargs={"stderr": log})  # type: ignore[no-untyped-call]
            context = SparkContext(conf=conf, gateway=gateway)
        except PySparkRuntimeError as error:
            log.seek(0)
            said = [line.strip() for line in log if line.strip()]
            raise SparkUnavailable(f"{JAVA_NEEDED} (it said: {said[0] if said else error})") from error
        spark = SparkSession(context)
        try:
            yield spark
        finally:
            spark.stop()
            gateway.shutdown()


def settings(driver_memory: str, shuffle_partitions: int | None, java_options: str) -> dict[str, str]:
    """The Spark settings of a job, by name."""
    partitions = shuffle_partitions or 2 * (os.cpu_count() or 1)
    return {
        "spark.master": "local[*]",
        "spark.driver.memory": driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.extraJavaOptions": f"-Duser.timezone=UTC {java_options}",
        "spark.sql.shuffle.partitions": str(partitions),
        # HotSpot compiles no method beyond 8,000 bytes: a whole stage in one would be interpreted, at half the speed.
        "spark.sql.codegen.hugeMethodLimit": "8000",
        # Without ANSI mode arithmetic overflows, and casts turn what they can't read into NULL, in silence.
        "spark.sql.ansi.enabled": "true",
        # The default, INT96, is deprecated and keeps no statistics to skip row groups by.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


def require_java() -> None:
    """Check that there is a Java to start, before Spark's launcher fails with a page of text.

    Raises:
        SparkUnavailable: neither JAVA_HOME nor PATH leads to a ``java``.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    if shutil.which(java) is None:
        raise SparkUnavailable(f"no java at {java}: {JAVA_NEEDED}" if home else f"no java on PATH: {JAVA_NEEDED}")
