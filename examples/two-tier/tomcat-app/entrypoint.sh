#!/bin/sh
# Starts Tomcat in the foreground with the application below /demo.
set -eu

export CATALINA_HOME=/usr/share/tomcat10 CATALINA_BASE=/var/lib/tomcat10
export CATALINA_TMPDIR=/tmp
# The address of the database comes from the environment; JSP reads it by System.getenv.
exec java -Xmx192m -Xss512k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
	-Djava.security.egd=file:/dev/urandom \
	-Dcatalina.home="$CATALINA_HOME" -Dcatalina.base="$CATALINA_BASE" -Djava.io.tmpdir="$CATALINA_TMPDIR" \
	-classpath "$CATALINA_HOME/bin/bootstrap.jar:$CATALINA_HOME/bin/tomcat-juli.jar" \
	org.apache.catalina.startup.Bootstrap start
