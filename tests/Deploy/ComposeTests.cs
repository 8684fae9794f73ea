using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Deploy;

/// <summary>
/// deploy/compose.yaml, as far as it can be held without an engine of containers. <see cref="RecipeTests"/> has the
/// settings that the services name.
/// </summary>
public sealed class ComposeTests : IDisposable
{
    private static readonly string Deploy = Path.Combine(Repository.Root, "deploy");

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-compose");

    [Fact]
    public void Each_service_is_there_and_has_the_files_networks_and_secrets_that_it_names()
    {
        var compose = Read(Path.Combine(Deploy, "compose.yaml"));
        var services = (YamlMappingNode)compose["services"];
        Assert.Equal(
            ["grafana", "nginx", "node1", "node2", "prometheus", "redis"],
            services.Children.Keys.Select(key => (string)key!).Order()
        );
        var secrets = Names(compose["secrets"]);
        Assert.All(((YamlMappingNode)compose["secrets"]).Children.Values, secret =>
            Assert.StartsWith("./secrets/", (string)secret["file"]!, StringComparison.Ordinal)
        );
        foreach (var service in services.Children.Values.Select(Merged))
        {
            Assert.True(service.ContainsKey("image"));
            foreach (var file in Items(service, "volumes").Select(volume => ((string)volume!).Split(':')[0]))
            {
                Assert.True(File.Exists(Path.Combine(Deploy, file)), $"{file} is mounted and is not there.");
            }

            Assert.All(Items(service, "secrets"), secret =>
                Assert.Contains((string)(secret is YamlMappingNode long_ ? long_["source"] : secret)!, secrets)
            );
            Assert.All(Items(service, "networks"), network => Assert.Equal("dmb", (string)network!));
            Assert.All(Names(service.GetValueOrDefault("depends_on")), other =>
                Assert.True(services.Children.ContainsKey(other), other)
            );
        }
    }

    [Fact]
    public async Task A_node_starts_with_the_environment_of_its_service()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var keys = await Access.KeysFile.WriteAsync("metrics:0123456789abcdef0123:read");
        var service = Merged(Read(Path.Combine(Deploy, "compose.yaml"))["services"]["node2"]);
        var environment = Merged(service["environment"]).ToDictionary(one => one.Key, one => (string)one.Value!);
        environment["DMB_KEYS_FILE"] = keys.Path;
        environment["REDIS_HOST"] = "127.0.0.1";
        environment["REDIS_PORT"] = $"{redis.Port}";
        await using var node = await NodeProcess.StartReadyAsync([
            .. environment.Select(one => (one.Key, one.Value)),
            ("DMB_HOST", "0.0.0.0"),
        ]);
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(node.Url, "/metrics"));
        request.Headers.Add("Authorization", "Bearer 0123456789abcdef0123");
        using var metrics = await node.Http.SendAsync(request);
        Assert.Equal(System.Net.HttpStatusCode.OK, metrics.StatusCode);
        Assert.DoesNotContain(node.Log, line => line.Contains("warn:", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nginx_is_given_the_two_nodes_in_the_place_of_its_own()
    {
        var command = (YamlSequenceNode)Read(Path.Combine(Deploy, "compose.yaml"))["services"]["nginx"]["command"];
        var script = ((string)command[2]!)
            .Replace("/etc/dmb/nginx.conf", Path.Combine(Deploy, "nginx.conf"), StringComparison.Ordinal)
            .Replace("/etc/nginx/conf.d", _directory.FullName, StringComparison.Ordinal)
            .Replace("exec nginx -g 'daemon off;'", "true", StringComparison.Ordinal);
        await RunAsync("sh", "-c", script);
        var written = await File.ReadAllLinesAsync(Path.Combine(_directory.FullName, "default.conf"));
        Assert.Equal(
            ["node1:8080;", "node2:8080;", "node1:8080;", "node2:8080;"],
            written
                .Where(line => line.StartsWith("    server ", StringComparison.Ordinal))
                .Select(line => line.Split(' ')[^1])
        );
    }

    [Fact]
    public async Task Prometheus_takes_its_configuration_and_scrapes_the_job_of_the_alerts()
    {
        var file = Path.Combine(Deploy, "compose", "prometheus.yaml");
        await RunAsync("promtool", "check", "config", "--syntax-only", file);
        Assert.Equal("dmb", (string)Read(file)["scrape_configs"][0]["job_name"]!);
        Assert.Equal(
            "http://prometheus:9090",
            (string)Read(Path.Combine(Deploy, "compose", "grafana-datasource.yaml"))["datasources"][0]["url"]!
        );
    }

    public void Dispose() => _directory.Delete(recursive: true);

    private static async Task RunAsync(string program, params string[] arguments)
    {
        await using var process = ChildProcess.Start(program, arguments, Repository.Root);
        Assert.True(await process.EndAsync() == 0, string.Join('\n', process.Lines));
    }

    private static YamlNode Read(string file)
    {
        using var reader = new StreamReader(file);
        var yaml = new YamlStream();
        yaml.Load(reader);
        return yaml.Documents[0].RootNode;
    }

    /// <summary>The members of a mapping, with those that it merges.</summary>
    private static Dictionary<string, YamlNode> Merged(YamlNode node)
    {
        var members = ((YamlMappingNode)node).Children.ToDictionary(one => (string)one.Key!, one => one.Value);
        if (members.Remove("<<", out var merged))
        {
            foreach (var (key, value) in Merged(merged))
            {
                members.TryAdd(key, value);
            }
        }

        return members;
    }

    private static IEnumerable<YamlNode> Items(Dictionary<string, YamlNode> service, string name) =>
        service.GetValueOrDefault(name) as YamlSequenceNode ?? Enumerable.Empty<YamlNode>();

    /// <summary>The keys of a mapping, or the items of a sequence.</summary>
    private static string[] Names(YamlNode? node) =>
        node switch
        {
            YamlMappingNode mapping => [.. mapping.Children.Keys.Select(key => (string)key!)],
            YamlSequenceNode sequence => [.. sequence.Select(item => (string)item!)],
            _ => [],
        };
}
