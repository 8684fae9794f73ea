using System.Reflection;

namespace Dmb.Telemetry;

/// <summary>The build that runs.</summary>
internal static class BuildInfo
{
    /// <summary>The broker's version, as its assembly says it.</summary>
    public static readonly string Version = typeof(BuildInfo)
        .Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!
        .InformationalVersion;
}
