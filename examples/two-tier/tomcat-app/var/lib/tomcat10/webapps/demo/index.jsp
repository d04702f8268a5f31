<%@ page contentType="text/html; charset=UTF-8" import="java.sql.*" %>
<%!
    /** The address of the database, as Kubernetes gives it to every container. */
    private static String env(String name, String fallback) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? fallback : value;
    }

    /** Opens the database, and makes the table with its first rows where it is not there yet. */
    private static Connection open() throws SQLException, ClassNotFoundException {
        Class.forName("org.mariadb.jdbc.Driver");
        String url = "jdbc:mariadb://" + env("MYSQL_SERVICE_HOST", "mysql") + ":" + env("MYSQL_SERVICE_PORT", "3306")
            + "/?connectTimeout=3000&socketTimeout=10000";
        Connection connection = DriverManager.getConnection(url, "root", env("MYSQL_ROOT_PASSWORD", "123456"));
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE DATABASE IF NOT EXISTS demo CHARACTER SET utf8mb4");
            statement.execute("CREATE TABLE IF NOT EXISTS demo.users "
                + "(id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, level INT NOT NULL)");
            statement.execute("INSERT IGNORE INTO demo.users (id, name, level) VALUES (1, 'google', 100), (2, 'docker', 100), "
                + "(3, 'teacher', 100), (4, 'HPE', 100), (5, 'our team', 100), (6, 'me', 100)");
        } catch (SQLException e) {
            connection.close();
            throw e;
        }
        return connection;
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }
%>
<%
    request.setCharacterEncoding("UTF-8");
    StringBuilder rows = new StringBuilder();
    String fault = null;
    try (Connection connection = open()) {
        String name = request.getParameter("name");
        if ("POST".equals(request.getMethod()) && name != null && !name.isBlank()) {
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO demo.users (name, level) VALUES (?, ?)")) {
                insert.setString(1, name.trim());
                insert.setInt(2, Integer.parseInt(request.getParameter("level")));
                insert.executeUpdate();
            }
            response.sendRedirect(request.getContextPath() + "/");
            return;
        }
        try (Statement query = connection.createStatement();
             ResultSet result = query.executeQuery("SELECT name, level FROM demo.users ORDER BY id")) {
            while (result.next()) {
                rows.append("<tr><td>").append(escape(result.getString(1))).append("</td><td>").append(result.getInt(2)).append("</td></tr>\n");
            }
        }
    } catch (NumberFormatException e) {
        response.setStatus(400);
        fault = "The level must be a number.";
    } catch (SQLException e) {
        response.setStatus(503);
        fault = "The database does not answer: " + e.getMessage();
    }
%>
<!DOCTYPE html>
<html lang="en">
<head><title>Two-tier demo <%= escape(env("APP_VERSION", "")) %></title></head>
<body>
<h1>Congratulations! The web tier reaches its database.</h1>
<p>Version <b><%= escape(env("APP_VERSION", "unknown")) %></b>, served by pod <b><%= escape(env("HOSTNAME", "unknown")) %></b></p>
<% if (fault != null) { %><p style="color: #b00"><%= escape(fault) %></p><% } %>
<table border="1">
<tr><th>Name</th><th>Level</th></tr>
<%= rows %></table>
<form method="post">
<label>Name <input name="name" required></label>
<label>Level <input name="level" type="number" value="100" required></label>
<button>Add</button>
</form>
</body>
</html>
