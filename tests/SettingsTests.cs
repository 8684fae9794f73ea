using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Dmb.Routing;

namespace Dmb.Tests;

/// <summary>The broker as people start it: a process, its environment, its command line and what it prints.</summary>
public sealed class SettingsTests
{
    [Theory]
    [InlineData("DMB_PORT", "abc", "0 to 65535")]
    [InlineData("DMB_PORT", "65536", "0 to 65535")]
    [InlineData("DMB_PORT", "-1", "0 to 65535")]
    [InlineData("DMB_PORT", "80.5", "0 to 65535")]
    [InlineData("PORT", "http", "0 to 65535")]
    [InlineData("DMB_HOST", "example", "IP address")]
    [InlineData("DMB_HOST", "0.0.0.0", "DMB_AUTH=none")]
    [InlineData("DMB_HOST", "*", "DMB_AUTH=none")]
    [InlineData("DMB_AUTH", "all", "none")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "63", "64 to ")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "256KiB", "64 to ")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "99999999999", "64 to ")]
    [InlineData("DMB_MAX_PENDING_BYTES", "2048", "DMB_MAX_MESSAGE_BYTES")]
    [InlineData("DMB_PING_INTERVAL", "soon", "1 to 3600 seconds")]
    [InlineData("DMB_PING_INTERVAL", "0", "1 to 3600 seconds")]
    [InlineData("DMB_SILENT_TIMEOUT", "25", "DMB_PING_INTERVAL")]
    [InlineData("DMB_WS_COMPRESSION", "yes", "true")]
    [InlineData("DMB_ALLOWED_ORIGINS", "desk.example.com", "https://")]
    [InlineData("DMB_ALLOWED_ORIGINS", "https://desk.example.com/", "https://")]
    [InlineData("DMB_PUBLIC_BUSES", "a b", "1 to 200 bytes")]
    [InlineData("DMB_EVENTS", "call=nowhere", "event=bus")]
    [InlineData("DMB_EVENTS", "a b=calls", "event=bus")]
    [InlineData("REDIS_PORT", "0", "1 to 65535")]
    [InlineData("REDIS_URL", "http://localhost", "redis://")]
    [InlineData("DMB_OUTAGE", "panic", "`spool` or `local` or `reject`")]
    [InlineData("DMB_PREFIX", "a*", "1 to 64 characters")]
    public async Task A_bad_value_is_one_line_on_stderr_and_exit_code_2(string name, string value, string accepted)
    {
        using var broker = Start([], (name, value));
        var (exitCode, output, error) = await EndAsync(broker);
        Assert.StartsWith($"{name}: '{value}' is not accepted; it takes ", error, StringComparison.Ordinal);
        Assert.Contains(accepted, error, StringComparison.Ordinal);
        Assert.Equal(error.Length - 1, error.IndexOf('\n', StringComparison.Ordinal));
        Assert.Equal((2, ""), (exitCode, output));
    }

    [Fact]
    public async Task An_address_of_Redis_is_refused_without_repeating_its_password()
    {
        using var broker = Start([], ("REDIS_URL", "redis://user:secret@localhost:6379"));
        var (exitCode, output, error) = await EndAsync(broker);
        Assert.Matches("^REDIS_URL: '[^\n]+\n$", error);
        Assert.DoesNotContain("secret", error, StringComparison.Ordinal);
        Assert.Equal((2, ""), (exitCode, output));
    }

    [Fact]
    public async Task A_bad_value_of_the_command_line_is_told_the_same_way()
    {
        using var broker = Start(["--Dmb:Port=abc"]);
        var (exitCode, _, error) = await EndAsync(broker);
        Assert.Matches("^DMB_PORT: 'abc' is not accepted; it takes 0 to 65535[^\n]*\n$", error);
        Assert.Equal(2, exitCode);
    }

    [Fact]
    public async Task A_port_that_is_taken_is_one_line_on_stderr()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;

        using var broker = Start([], ("DMB_PORT", $"{port}"));
        var (exitCode, _, error) = await EndAsync(broker);
        Assert.Matches($"^DMB_PORT: [^\n]*{port}[^\n]*\n$", error);
        Assert.NotEqual(0, exitCode);
    }

    [Fact]
    public async Task Help_prints_each_setting_with_its_range_and_default()
    {
        using var broker = Start(["--help"]);
        var (exitCode, output, error) = await EndAsync(broker);
        Assert.Equal((0, ""), (exitCode, error));
        Assert.Matches(@"DMB_PORT +[^\n]+\n +0 to 65535; default 8082\n", output);
        Assert.Matches(@"DMB_MAX_MESSAGE_BYTES +[^\n]+\n +64 to 16777216; default 262144\n", output);
        Assert.Matches(@"DMB_PING_INTERVAL +[^\n]+\n +1 to 3600 seconds; default 25\n", output);
        var settings = typeof(BrokerOptions).GetProperties().Count(property => property.CanWrite);
        Assert.Equal(settings, Regex.Count(output, "(?m)^(DMB|REDIS)_"));
    }

    [Fact]
    public async Task The_first_lines_say_where_it_listens_and_on_what_it_runs_and_what_to_type_next()
    {
        using var broker = Start([], ("DMB_PORT", "0"));
        var lines = await ReadHelloAsync(broker);
        var url = Assert.Single(Regex.Matches(lines[0], @"listens on (http://127\.0\.0\.1:\d+)\.")).Groups[1].Value;
        Assert.Contains("embedded", lines[1], StringComparison.Ordinal);
        Assert.Contains($"curl -N '{url}/events?room=", lines[2], StringComparison.Ordinal);

        using var http = new HttpClient { Timeout = Node.Patience };
        Assert.Equal("""{"status":"alive"}""", await http.GetStringAsync(url + "/healthz"));
    }

    [Theory]
    [InlineData("DMB_PORT=0 PORT=abc", "")]
    [InlineData("PORT=0", "")]
    [InlineData("DMB_PORT=0 DMB_HOST=localhost", "")]
    [InlineData("DMB_PORT=0 DMB_HOST=0.0.0.0 DMB_AUTH=none", "")]
    [InlineData("DMB_PORT=0 REDIS_HOST=none", "")]
    [InlineData("DMB_PORT=99999", "--Dmb:Port=0")]
    [InlineData("DMB_PORT=0 DMB_PING_INTERVAL=1.5 DMB_EVENTS=a=calls,b=,c", "")]
    [InlineData("DMB_PORT=0 DMB_ALLOWED_ORIGINS=https://a.example,http://b.example:8080", "")]
    public async Task A_good_value_is_taken(string environment, string arguments)
    {
        var variables = environment.Split(' ').Select(pair => pair.Split('=', 2)).Select(pair => (pair[0], pair[1]));
        using var broker = Start(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), [.. variables]);
        var lines = await ReadHelloAsync(broker);
        Assert.Matches(@"listens on http://[^ ]+:\d{4,5}\.", lines[0]);
    }

    [Theory]
    [InlineData("DMB_PROT", "1", "DMB_PROT")]
    [InlineData("DMB_MAX_MESAGE_BYTES", "1", "DMB_MAX_MESAGE_BYTES")]
    [InlineData("Dmb__MaxMesageBytes", "1", "MaxMesageBytes")]
    public async Task An_unknown_name_is_warned_about(string name, string value, string told)
    {
        using var broker = Start([], ("DMB_PORT", "0"), (name, value));
        var lines = await ReadHelloAsync(broker);
        var warning = await broker.StandardOutput.ReadLineAsync().WaitAsync(Node.Patience);
        Assert.Contains("warn", warning, StringComparison.Ordinal);
        Assert.Contains(told, warning, StringComparison.Ordinal);
        Assert.Equal(3, lines.Count);
    }

    [Fact]
    public async Task Settings_may_stand_in_appsettings_json_and_the_environment_wins()
    {
        var directory = Directory.CreateTempSubdirectory("dmb");
        try
        {
            await File.WriteAllTextAsync(
                Path.Combine(directory.FullName, "appsettings.json"),
                """{"Dmb":{"Port":"99999","AllowedOrigins":["https://a.example"],"Events":{"a":"calls","b":""}}}""");
            using var refused = StartIn(directory.FullName, []);
            var (_, _, error) = await EndAsync(refused);
            Assert.StartsWith("DMB_PORT: '99999' is not accepted", error, StringComparison.Ordinal);

            using var taken = StartIn(directory.FullName, [], ("DMB_PORT", "0"));
            await ReadHelloAsync(taken);

            // A list in the file gives way too.
            using var origins = StartIn(directory.FullName, [], ("DMB_PORT", "0"), ("DMB_ALLOWED_ORIGINS", "b"));
            Assert.StartsWith("DMB_ALLOWED_ORIGINS: 'b' is not accepted", (await EndAsync(origins)).Error, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static BrokerProcess Start(string[] arguments, params (string, string)[] environment)
    {
        return StartIn(AppContext.BaseDirectory, arguments, environment);
    }

    private static BrokerProcess StartIn(string directory, string[] arguments, params (string, string)[] environment)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Dmb.dll"), .. arguments])
        {
            WorkingDirectory = directory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var name in start.Environment.Keys.Where(IsSetting).ToArray())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return new BrokerProcess(start);
    }

    private static bool IsSetting(string name)
    {
        return name == "PORT" || Regex.IsMatch(name, "^(DMB_|Dmb__|REDIS_|ASPNETCORE_|DOTNET_ENVIRONMENT)");
    }

    private static async Task<(int ExitCode, string Output, string Error)> EndAsync(Process process)
    {
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(Node.Patience);
        return (process.ExitCode, await output, await error);
    }

    /// <summary>The first three lines of the log.</summary>
    private static async Task<List<string>> ReadHelloAsync(Process process)
    {
        var lines = new List<string>();
        while (lines.Count < 3 && await process.StandardOutput.ReadLineAsync().WaitAsync(Node.Patience) is { } line)
        {
            lines.Add(line);
        }

        Assert.True(lines.Count == 3, process.HasExited ? await process.StandardError.ReadToEndAsync() : "");
        return lines;
    }

    /// <summary>A process that doesn't outlive its test.</summary>
    private sealed class BrokerProcess : Process
    {
        public BrokerProcess(ProcessStartInfo start)
        {
            StartInfo = start;
            Start();
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing && !HasExited)
            {
                Kill();
            }

            base.Dispose(disposing);
        }
    }
}
