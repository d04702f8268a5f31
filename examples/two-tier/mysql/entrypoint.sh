#!/bin/sh
# Starts the database server. At the first start it makes the data directory, with the password of
# MYSQL_ROOT_PASSWORD for root from anywhere.
set -eu

data=/var/lib/mysql
if [ ! -d "$data/mysql" ] || [ -e "$data/.unfinished" ]; then
	: "${MYSQL_ROOT_PASSWORD:?set MYSQL_ROOT_PASSWORD to the password that root is to have}"
	rm -rf "${data:?}"/* "$data"/.unfinished
	mkdir -p "$data"
	touch "$data/.unfinished"
	chown -R mysql:mysql "$data"
	mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --force >&2
	# In single quotes for SQL, a backslash and a quote are doubled.
	password=$(printf %s "$MYSQL_ROOT_PASSWORD" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")
	mariadbd --user=mysql --datadir="$data" --bootstrap <<-SQL
		FLUSH PRIVILEGES;
		CREATE OR REPLACE USER 'root'@'%' IDENTIFIED BY '$password';
		GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
		ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
	SQL
	rm "$data/.unfinished"
fi
mkdir -p /run/mysqld
chown mysql:mysql /run/mysqld
exec "$@" --user=mysql --datadir="$data" --bind-address=0.0.0.0 --skip-name-resolve --console
